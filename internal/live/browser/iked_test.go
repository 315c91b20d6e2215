package browser

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// wantIked skips a test where there is no iked, or where the user may not make namespaces as root does.
func wantIked(t *testing.T) {
	t.Helper()
	for _, program := range []string{"iked", "ip", "unshare", "openssl"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skip(err)
		}
	}
	if os.Geteuid() != 0 || exec.Command("unshare", "--net", "--mount", "true").Run() != nil {
		t.Skip("this user may not make namespaces")
	}
}

// ikedPage is the page of host a of examples/iked.
func ikedPage(t *testing.T, story string) string {
	t.Helper()
	wantIked(t)
	file := filepath.Join(t.TempDir(), "iked.html")
	newMachine(t).run("bash ../../../examples/iked/run " + story + " --page " + file)
	return "file://" + file
}

// Two ikeds negotiate, and a packet comes before its keys: on the page it waits on the LARVAL SA until iked's UPDATE.
func TestIkedEarly(t *testing.T) {
	p := open(t, ikedPage(t, "--early"), 1280, 800, "light")
	p.wait(`past && past.records.length > 10 && !timeline.asked`)
	p.expect(`past.waits.map((w) => [past.records[w.begin].label, w.how].join(" ")).join(", ")`, "queued delivered")
	p.expect(`(() => { const w = past.waits[0];
		return past.records.slice(w.begin, w.end).map((r) => r.label).filter((l) => l === "UPDATE" || l === "mature").length > 1;
	})()`, "true")
	p.click("#tab-ledger")
	p.contains(`document.getElementById("table-ledger").innerText`, "1 injected = 1 delivered")
}

// A page shows what a program under "pfkeyd run" says while it runs, and still has it when the program has ended.
func TestIkedRuns(t *testing.T) {
	wantIked(t)
	m := newMachine(t)
	m.run(`cat >` + m.runtime + `/iked.conf <<-end
		ikev2 passive esp from 192.0.2.1 to 192.0.2.2 local 192.0.2.1 peer 192.0.2.2 psk "a shared secret"
		end
		chmod 600 ` + m.runtime + `/iked.conf`)
	url := m.start(`exec pfkeyd run --live -- unshare --net --mount bash -euc '
		mount -t tmpfs tmpfs /etc/iked
		mkdir -p /etc/iked/{ca,certs,crls,private} /etc/iked/pubkeys/{fqdn,ipv4}
		openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out /etc/iked/private/local.key 2>/dev/null
		ip link set lo up; ip addr add 192.0.2.1/24 dev lo
		echo begins; echo $$ >`+m.runtime+`/pid
		exec iked -d -v -f `+m.runtime+`/iked.conf -s /etc/iked/ctl'`, address)
	p := open(t, url, 1280, 800, "light")
	p.wait(`past && past.records.some((r) => r.label === "REGISTER") && !timeline.asked`)
	p.contains(`document.getElementById("kernel").textContent`, "linux")
	p.contains(`document.getElementById("state").textContent`, "live")
	m.run("kill $(cat " + m.runtime + "/pid)")
	p.wait(`past.records.at(-1).label === "close" && !timeline.asked`)
	p.contains(`past.records.map((r) => r.text).join()`, "REGISTER esp", "REGISTER ah")
	p.click("#first")
	p.contains(rows, "REGISTER")
}
