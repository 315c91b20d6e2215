package control

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// metrics is a thin adapter over what is counted anyway.
func (s *Server) metrics(w http.ResponseWriter, r *http.Request) {
	st := s.read(r.Context(), 1) // the numbers of SAs and ACQUIREs are enough, and 0 would list all
	var m metricsText
	m.family("pfkeyd_info", "gauge", "The emulated kernel.")
	m.sample("pfkeyd_info", 1, "kernel", st.Kernel, "fault", st.Fault)
	m.family("pfkeyd_clock_seconds", "gauge", "What the engine's clock shows, in seconds of Unix time.")
	m.sample("pfkeyd_clock_seconds", float64(st.Now.UnixMilli())/1000)

	m.family("pfkeyd_packets_injected_total", "counter", "Packets taken in.")
	m.sample("pfkeyd_packets_injected_total", st.Ledger.Injected)
	m.family("pfkeyd_packets_ended_total", "counter", "Packets by their final verdict.")
	m.byName("pfkeyd_packets_ended_total", "verdict", st.Ledger.Verdicts)
	m.family("pfkeyd_packets_dropped_total", "counter", "Dropped packets by reason.")
	m.byName("pfkeyd_packets_dropped_total", "reason", st.Ledger.Reasons)
	m.family("pfkeyd_packets_held", "gauge", "Packets that wait on an SA or for an ACQUIRE.")
	m.sample("pfkeyd_packets_held", st.Ledger.Held)
	m.family("pfkeyd_packets_held_bytes", "gauge", "Memory of the packets that wait.")
	m.sample("pfkeyd_packets_held_bytes", st.Ledger.HeldBytes)
	m.family("pfkeyd_packets_held_limit_bytes", "gauge", "What there may be of it.")
	m.sample("pfkeyd_packets_held_limit_bytes", st.Ledger.HeldLimit)
	m.family("pfkeyd_packets_in_flight", "gauge", "Packets neither held nor ended; 0 when the engine is at rest.")
	m.sample("pfkeyd_packets_in_flight", st.Ledger.InFlight)

	m.family("pfkeyd_sas", "gauge", "Security associations, of every state.")
	m.sample("pfkeyd_sas", st.SACount)
	m.family("pfkeyd_acquires", "gauge", "Unanswered ACQUIREs.")
	m.sample("pfkeyd_acquires", st.AcquireCount)
	m.family("pfkeyd_policies", "gauge", "Security policies.")
	m.sample("pfkeyd_policies", st.PolicyCount)
	queued := 0
	for _, so := range st.Sockets {
		queued += so.Queued
	}
	m.family("pfkeyd_sockets", "gauge", "Open PF_KEY sockets.")
	m.sample("pfkeyd_sockets", len(st.Sockets))
	m.family("pfkeyd_socket_queued_messages", "gauge", "Messages that PF_KEY sockets have not read yet.")
	m.sample("pfkeyd_socket_queued_messages", queued)

	m.family("pfkeyd_kernel_counter_total", "counter", "Counters by the real kernel's names.")
	m.byName("pfkeyd_kernel_counter_total", "name", st.Counters)
	m.family("pfkeyd_server", "untyped", "Numbers of the servers in front of the engine.")
	for _, server := range slices.Sorted(maps.Keys(st.Servers)) {
		numbers := flatten(st.Servers[server])
		for _, name := range slices.Sorted(maps.Keys(numbers)) {
			m.sample("pfkeyd_server", numbers[name], "server", server, "name", name)
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	w.Write(m.b.Bytes()) // an error means that the client has gone
}

// flatten finds the numbers of what becomes a JSON object.
func flatten(v any) map[string]json.Number {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	var all map[string]any
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if d.Decode(&all) != nil {
		return nil
	}
	numbers := map[string]json.Number{}
	for name, v := range all {
		if n, ok := v.(json.Number); ok {
			numbers[name] = n
		}
	}
	return numbers
}

// metricsText is the text format of Prometheus, version 0.0.4.
type metricsText struct{ b bytes.Buffer }

func (m *metricsText) family(name, kind, help string) {
	fmt.Fprintf(&m.b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

// sample writes one line; labels are names and values in turn.
func (m *metricsText) sample(name string, value any, labels ...string) {
	m.b.WriteString(name)
	for i := 0; i+1 < len(labels); i += 2 {
		sep := byte(',')
		if i == 0 {
			sep = '{'
		}
		m.b.WriteByte(sep)
		fmt.Fprintf(&m.b, `%s="%s"`, labels[i], escape.Replace(labels[i+1]))
	}
	if len(labels) > 0 {
		m.b.WriteByte('}')
	}
	fmt.Fprintf(&m.b, " %v\n", value)
}

func (m *metricsText) byName(name, label string, values map[string]uint64) {
	for _, v := range slices.Sorted(maps.Keys(values)) {
		m.sample(name, values[v], label, v)
	}
}

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)
