package conform

// deviation is a difference that is meant. It does not wave a scenario through: amend changes the recording into the answer that
// is expected of the emulator, and that is compared as exactly as the recording was.
type deviation struct {
	name, reason string
	// amend rewrites sc if the deviation concerns it, and says whether it did. sc is a copy to be changed at will.
	amend func(sc *Scenario) bool
}

// illumosDeviations are all places where the emulated illumos does not do what the recorded one did, and why.
var illumosDeviations = []deviation{{
	name:   "panic",
	reason: "the original follows a bad pointer or frees memory twice; the emulator refuses and stays up",
	amend:  func(sc *Scenario) bool { return sc.Panic },
}}
