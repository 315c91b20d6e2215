package illumos

import (
	"bytes"
	_ "embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/pfkeyd/pfkeyd/internal/conform"
	"github.com/pfkeyd/pfkeyd/packet"
	"github.com/pfkeyd/pfkeyd/wire"
)

// deviations are all places where the emulated illumos does not do what the recorded one did, and why. All of
// them are about packets that the original loses or delivers by mistake, and about ways to crash it.
var deviations = []conform.Deviation{
	{
		Name:   "panic",
		Reason: "the original follows a bad pointer or frees memory twice; the emulator refuses and stays up",
		Amend:  amendPanic,
	}, {
		Name: "dead-sa",
		Reason: "a packet saw the SA LARVAL, and before it was stored the SA became DEAD: the original decrypts and delivers it all the same, " +
			"the emulator looks at the state under the lock and drops it, no SA",
		Amend: onRace(`-(fail-before-store|held-over-(fail|update-(delete|flush|expire)))$`, amendDead),
	}, {
		Name: "elsewhere-sa",
		Reason: "a packet saw the SA LARVAL, and before it was stored another node of the cluster took the SA over: the original delivers it, " +
			"the emulator drops it, no SA",
		Amend: onRace(`-held-over-elsewhere$`, amendDead),
	}, {
		Name: "flushed-larval",
		Reason: "a packet saw the SA LARVAL, and before it was stored the SA was flushed: the original stores it on an SA that nobody can reach " +
			"and drops it as timed out, the emulator drops it at once, no SA",
		Amend: onRace(`-(flush-before-store|held-over-flush(-getspi)?)$`, amendFlushed),
	}, {
		Name: "promoted-slot",
		Reason: "a packet saw the SA LARVAL and comes back to an SA that was promoted, whose queue UPDATE has not yet emptied: the original throws " +
			"the waiting packet away, the emulator empties the queue with the promotion and delivers both",
		Amend: onRace(`-held-until-take$`, amendPromoted),
	}, {
		Name: "idle-leak",
		Reason: "the packets that wait on an IDLE SA are never freed when the original deletes it; the emulator ends every packet, these as those that " +
			"the SA could not release",
		Amend: amendIdle,
	},
}

// race is a scenario of the class interleave, named PROTOCOL-WHAT, that is being amended.
type race struct {
	*conform.Scenario
	d     *wire.Dialect // of the recordings
	proto string        // "esp" or "ah"
	v6    bool
}

var raceName = regexp.MustCompile(`^interleave/(esp|ah)(6?)-`)

// onRace makes the amendment of the scenarios of the class interleave whose name matches.
func onRace(pattern string, amend func(race) bool) func(*conform.Scenario) bool {
	names := regexp.MustCompile(pattern)
	return func(sc *conform.Scenario) bool {
		m := raceName.FindStringSubmatch(sc.Name)
		if m == nil || !names.MatchString(sc.Name) || sc.Panic {
			return false
		}
		return amend(race{sc, dialect, m[1], m[2] != ""})
	}
}

// late finds the step in which the packet that saw the SA LARVAL is decided: the one that resumes it, or that injects
// it while another step runs at the point store.
func (r race) late() int {
	return slices.IndexFunc(r.Steps, func(st conform.Step) bool {
		return st.Op == "resume" && st.At == "" || st.Op == "inject" && st.At == "" && st.Until == "" &&
			slices.ContainsFunc(r.Steps, func(s conform.Step) bool { return s.At == "store" }) &&
			st.Verdict != packet.Queued.String()
	})
}

// drop makes the packet that step i decides with this verdict one that is dropped because there is no SA.
func (r race) drop(i int, verdict, reason string) bool {
	st := &r.Steps[i]
	if st.Verdict == verdict && st.Reason == reason {
		st.Verdict, st.Reason, st.Inner, st.InnerVol = packet.Dropped.String(), r.proto+"_no_sa", nil, nil
		return true
	}
	for k, p := range st.Packets {
		if p.Verdict == verdict && p.Reason == reason {
			st.Packets[k] = conform.Fate{ID: p.ID, Verdict: packet.Dropped.String(), Reason: r.proto + "_no_sa"}
			return true
		}
	}
	return false
}

// count changes what the first reading of the counters after step i has.
func count(sc *conform.Scenario, i int, by map[string]int) {
	for k := i; k < len(sc.Steps); k++ {
		st := &sc.Steps[k]
		if st.Op != "counters" {
			continue
		}
		if st.Counters == nil {
			st.Counters = map[string]uint64{}
		}
		for name, n := range by {
			if st.Counters[name] += uint64(n); st.Counters[name] == 0 {
				delete(st.Counters, name)
			}
		}
		return
	}
}

// noSA is what the counters show of a packet that finds no SA.
func (r race) noSA(by map[string]int) map[string]int {
	by["ipdrop/"+r.proto+"_no_sa"]++
	by["ipsec/"+r.proto+"_stat_in_discards"]++
	by["ipsec/"+r.proto+"_stat_lookup_failure"]++
	return by
}

func amendDead(r race) bool {
	i := r.late()
	if i < 0 || !r.drop(i, packet.Delivered.String(), "") {
		return false
	}
	count(r.Scenario, i, r.noSA(map[string]int{r.proto + "/crypto_sync": -1, r.proto + "/good_auth": -1}))
	r.messages(i, r.unused)
	// A packet that waits when the UPDATE fails is thrown out of the queue by the late one; now it stays until the next
	// pass.
	st := &r.Steps[i]
	k := slices.IndexFunc(st.Packets, func(p conform.Fate) bool { return p.Reason == "sadb_inlarval_replace" })
	if k < 0 {
		return true
	}
	waiting := st.Packets[k]
	waiting.Reason = "sadb_inlarval_timeout"
	st.Packets = slices.Delete(st.Packets, k, k+1)
	count(r.Scenario, i, map[string]int{"ipdrop/sadb_inlarval_replace": -1})
	for k := i; k < len(r.Steps); k++ {
		if r.Steps[k].Op == "age" {
			r.Steps[k].Packets = append([]conform.Fate{waiting}, r.Steps[k].Packets...)
			count(r.Scenario, k, map[string]int{"ipdrop/sadb_inlarval_timeout": 1})
			return true
		}
	}
	return false
}

func amendFlushed(r race) bool {
	i := r.late()
	if i < 0 || !r.drop(i, packet.Dropped.String(), "sadb_inlarval_timeout") {
		return false
	}
	count(r.Scenario, i, r.noSA(map[string]int{"ipdrop/sadb_inlarval_timeout": -1}))
	return true
}

// The packet that waits in the class interleave, as it is delivered, and what it adds to the bytes of its SA.
const (
	waiting4 = "45000030123400004011e485c0000202c000020113880009001c0000000102030405060708090a0b0c0d0e0f10111213"
	waiting6 = "60000000001c114020010db800000000000000000000000220010db800000000000000000000000113880009001c0000000102030405060708090a0b0c0d0e0f10111213"

	waitingESP = 48 // IV and ciphertext
	waitingAH4 = 72 // the whole packet
	waitingAH6 = 92
)

func amendPromoted(r race) bool {
	i := slices.IndexFunc(r.Steps, func(st conform.Step) bool { return st.Op == "send" && len(st.Packets) == 2 })
	if i < 0 {
		return false
	}
	st := &r.Steps[i]
	if st.Packets[0].Reason != "sadb_inlarval_replace" {
		return false
	}
	inner, size := waiting4, waitingAH4
	if r.v6 {
		inner, size = waiting6, waitingAH6
	}
	if r.proto == "esp" {
		size = waitingESP
	}
	b, _ := hex.DecodeString(inner) // a constant
	st.Packets = []conform.Fate{st.Packets[1], {ID: st.Packets[0].ID, Verdict: packet.Delivered.String(), Inner: b}}
	count(r.Scenario, i, map[string]int{"ipdrop/sadb_inlarval_replace": -1, r.proto + "/crypto_sync": 1,
		r.proto + "/good_auth": 1, "ipsec/" + r.proto + "_stat_in_requests": 1})
	r.messages(i, func(m *conform.Message) {
		if x, ok := r.d.Find(m.Hex, wire.ExtLifetimeCurrent); ok && len(x.Raw) == 32 {
			r.d.Order.PutUint64(x.Raw[8:], r.d.Order.Uint64(x.Raw[8:])+uint64(size))
		}
	})
	return true
}

// messages changes what is received after step i.
func (r race) messages(i int, change func(*conform.Message)) {
	for k := i + 1; k < len(r.Steps); k++ {
		for n := range r.Steps[k].Rx {
			change(&r.Steps[k].Rx[n])
		}
	}
}

// unused makes a message about an SA that has carried a packet into one about an SA that has not: not used, no bytes,
// no use time, no replay counter.
func (r race) unused(m *conform.Message) {
	if x, ok := r.d.Find(m.Hex, wire.ExtSA); ok && len(x.Raw) >= 16 {
		flags := x.Raw[12:]
		r.d.Order.PutUint32(flags, r.d.Order.Uint32(flags)&^wire.IllumosFlagXUsed)
	}
	x, ok := r.d.Find(m.Hex, wire.ExtLifetimeCurrent)
	if !ok || len(x.Raw) != 32 {
		return
	}
	clear(x.Raw[8:16])
	clear(x.Raw[24:])
	m.Vol = slices.DeleteFunc(m.Vol, func(s conform.Span) bool { return s.Name == "usetime" })
	x, ok = r.d.Find(m.Hex, wire.IllumosExtXReplayValue)
	if !ok {
		return
	}
	m.Hex = slices.Delete(m.Hex, x.Offset, x.Offset+len(x.Raw))
	for i := range m.Vol {
		if m.Vol[i].Offset > x.Offset {
			m.Vol[i].Offset -= len(x.Raw)
		}
	}
	r.d.Finish(m.Hex)
}

// amendIdle ends the packets that are queued on an IDLE SA in the step that deletes it.
func amendIdle(sc *conform.Scenario) bool {
	if !strings.HasPrefix(sc.Name, "idle/") {
		return false
	}
	var waits []uint64
	done := false
	for i := range sc.Steps {
		st := &sc.Steps[i]
		if st.Verdict == packet.Queued.String() {
			waits = append(waits, st.ID)
		}
		for _, p := range st.Packets {
			waits = slices.DeleteFunc(waits, func(id uint64) bool { return id == p.ID })
		}
		msg := st.Message()
		if msg == nil || st.At != "" || len(msg.Hex) < wire.HeaderLen || len(st.Rx) == 0 || len(st.Rx[0].Hex) < 3 ||
			st.Rx[0].Hex[2] != 0 {
			continue
		}
		if t := wire.MsgType(msg.Hex[1]); t != wire.MsgDelete && t != wire.MsgFlush {
			continue
		}
		for _, id := range waits {
			st.Packets = append(st.Packets, conform.Fate{ID: id, Verdict: packet.Dropped.String(),
				Reason: "sadb_inidle_timeout"})
			count(sc, i, map[string]int{"ipdrop/sadb_inidle_timeout": 1})
			done = true
		}
		waits = nil
	}
	return done
}

// answers has what the emulated illumos answers in the steps in which the original panics: scenarios with that step
// alone. "go test ./internal/conform -run TestAnswers -update" writes it anew.
//
//go:embed answers.jsonl
var answers []byte

var answerOf = sync.OnceValue(func() map[string]conform.Outcome {
	by := map[string]conform.Outcome{}
	for line := range bytes.Lines(answers) {
		var sc conform.Scenario
		if err := json.Unmarshal(line, &sc); err != nil || len(sc.Steps) != 1 {
			panic(fmt.Sprintf("conform: broken answer %q: %v", conform.Abridged(string(line)), err))
		}
		by[sc.Name] = sc.Steps[0].Outcome
	}
	return by
})

// amendPanic expects the answer that was given before. A scenario without one has only to leave the emulator in working
// order.
func amendPanic(sc *conform.Scenario) bool {
	if !sc.Panic {
		return false
	}
	if a, ok := answerOf()[sc.Name]; ok {
		sc.Steps[len(sc.Steps)-1].Outcome = a
	}
	return true
}
