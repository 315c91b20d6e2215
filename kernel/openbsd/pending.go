package openbsd

import "time"

func (k *Kernel) armUse(sa *SA, now time.Time) {}
func (k *Kernel) expireHard(sa *SA)            {}
func (k *Kernel) expireSoft(sa *SA)            {}
