package openbsd

// use notes that a packet uses an SA. The first one arms what counts from then on.
func (k *Kernel) use(sa *SA) {
	sa.Lock()
	first := sa.firstUse == 0
	if first {
		sa.firstUse = k.e.Now().Unix()
	}
	arms := first && (sa.hard.armed.use || sa.soft.armed.use)
	sa.Unlock()
	if arms {
		now := k.e.Now()
		k.e.Post(func() { k.armUse(sa, now) })
	}
}

// spend counts the bytes of a packet on its SA, and has it expire when a limit of them is reached: at the hard one it
// is gone at once, and the packet with it (false), and so are those that come until the control lock is free.
func (k *Kernel) spend(s *passing, sa *SA, bytes int) bool {
	sa.Lock()
	spent := sa.spent
	sa.bytes += uint64(bytes)
	if sa.hard.armed.bytes && sa.bytes >= sa.hard.Bytes {
		sa.spent = true
	}
	hard := sa.spent
	soft := !hard && sa.soft.armed.bytes && sa.bytes >= sa.soft.Bytes
	if soft {
		sa.soft.armed.bytes = false
	}
	sa.Unlock()
	switch {
	case hard && !spent:
		k.tally.count(s.p, countExpired, 1)
		k.e.Post(func() { k.expireHard(sa) })
	case soft:
		k.e.Post(func() { k.expireSoft(sa) })
	}
	return !hard
}
