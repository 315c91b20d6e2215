package bsd

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/conform"
)

// crashes are the deviations of a kernel where its original does not survive a scenario, or uses memory that is not
// meant. Nobody has recorded answers to that. answers has those of the emulated kernel, as scenarios;
// "go test ./internal/conform -run TestCrashAnswers -update" writes them anew.
func crashes(answers []byte) []conform.Deviation {
	known := sync.OnceValue(func() map[string][]conform.Step {
		by := map[string][]conform.Step{}
		for line := range bytes.Lines(answers) {
			var sc conform.Scenario
			if err := json.Unmarshal(line, &sc); err != nil {
				panic(fmt.Sprintf("conform: broken answer %q: %v", conform.Abridged(string(line)), err))
			}
			by[sc.Name] = sc.Steps
		}
		return by
	})
	kind := func(name, why, reason string) conform.Deviation {
		return conform.Deviation{Name: name, Reason: reason, Amend: func(sc *conform.Scenario) bool {
			if !strings.HasPrefix(sc.Why, why) {
				return false
			}
			answer(sc, known()[sc.Name])
			return true
		}}
	}
	return []conform.Deviation{
		kind("acquire-panic", "panic: the full form of ACQUIRE",
			"an ACQUIRE of a program has the original take a lock twice; the emulator sends it to all that are "+
				"registered, as the original did until 2016"),
		kind("bare-policy-panic", "panic: a policy of type IPSEC without requests",
			"a packet that meets a policy of type ipsec without requests has the original follow a null pointer; the "+
				"emulator drops it"),
		kind("division-panic", "panic: GETSPI divides by zero",
			"the original divides by the size of a range, which is 0 for one of all numbers; the emulator chooses any "+
				"of them"),
		kind("timeout-panic", "panic: a time limit of an SA whose low 32 bits are negative",
			"a limit of time whose low 32 bits are negative fails an assertion of the original; the emulator refuses "+
				"the SA"),
		kind("request-overread", "the kernel reads beyond a buffer: addresses",
			"addresses of a policy's request reach past the message: the original keeps and shows what stands in "+
				"memory there; for the emulator those bytes are zeros"),
		kind("session-overread", "the kernel reads beyond a buffer: the table of sessions",
			"from the 32nd SA on the original copies more of a table than there is; the emulator has no such table"),
		kind("key-overrun", "the kernel writes zeros beyond a heap buffer",
			"a key has fewer bytes than its bits say: the original reads on behind it and zeroes what is there; the "+
				"emulator refuses the SA"),
	}
}

// answer expects the answers that were given before. A scenario without them has only to leave the emulator in working
// order.
func answer(sc *conform.Scenario, steps []conform.Step) {
	for i := range sc.Steps {
		if len(steps) == len(sc.Steps) {
			sc.Steps[i].Outcome = steps[i].Outcome
		} else {
			sc.Steps[i].Outcome = conform.Outcome{Panic: "panic"}
		}
	}
}
