package browser

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// race writes the page of the race lab with some endings, and returns its address.
func (m *machine) race(endings string) string {
	m.t.Helper()
	file := filepath.Join(m.t.TempDir(), "race.html")
	m.run("ipsecinject race --ending " + endings + " --html " + file)
	return "file://" + file
}

// now is the step of the page that is looked at: its letter, the SA, and what waits on it.
const now = "(() => { const s = step(path[at]); return [s.actor, s.state.replace(/[()]/g, ''), " +
	"s.holds === '-' ? '' : s.holds].join(' ') })()"

// A schedule plays forwards and backwards, and in each step the page shows what the lab says of it.
func TestRacePlays(t *testing.T) {
	m := newMachine(t)
	p := open(t, m.race("none,expire"), 1280, 900, "light")
	for _, name := range []string{"larval-unlocked/none/1UU11U22U", "larval-window/none/1112UU222UU",
		"larval-window/expire/UUUU1E12", "ours/none/1112UU222UU"} {
		var want struct {
			Fates [2]string
			Steps []struct {
				Actor, State string
				Held         []int
			}
		}
		if err := json.Unmarshal([]byte(m.run("ipsecinject race --json --replay "+name)), &want); err != nil {
			t.Fatal(err)
		}
		p.do(chromedp.Evaluate[chromedp.Void](fmt.Sprintf("location.hash = %q", name+"@0")))
		p.wait(fmt.Sprintf("tree.variant + '/' + tree.ending + '/' + letters(path) === %q && at === 0", name))
		told := []string{" LARVAL "}
		for _, s := range want.Steps {
			told = append(told, fmt.Sprintf("%s %s %s", s.Actor, strings.ToUpper(s.State),
				strings.Trim(fmt.Sprint(s.Held), "[]")))
		}
		for i, s := range told {
			if i > 0 {
				p.click("#forth")
			}
			p.expect(now, s)
			p.expect(`document.querySelector(".now").firstChild.textContent`, fmt.Sprint(i))
		}
		p.expect(`document.querySelector("#forth").disabled`, "true")
		p.expect(`document.querySelectorAll(".later").length`, "0")
		for i := len(told) - 2; i >= 0; i-- {
			p.click("#back")
			p.expect(now, told[i])
		}
		p.expect(`document.querySelector("#back").disabled`, "true")
		wrong := fmt.Sprint(want.Fates[0]+want.Fates[1] != "")
		p.expect(`document.querySelector("#ends").className === "wrong"`, wrong)
	}
}

// What the page counts is what the lab has counted.
func TestRaceCounts(t *testing.T) {
	m := newMachine(t)
	p := open(t, m.race("none,timeout"), 1280, 900, "dark")
	n := 0
	counted := m.run("ipsecinject race --ending none,timeout --json")
	for s := bufio.NewScanner(strings.NewReader(counted)); s.Scan(); n++ {
		var want struct {
			Variant, Ending                          string
			Schedules, Failing, Stranded, Lost, Dead int
		}
		if err := json.Unmarshal(s.Bytes(), &want); err != nil {
			t.Fatal(err)
		}
		p.click(fmt.Sprintf("#variants > button:nth-child(%d)", 1+n/2))
		p.click(fmt.Sprintf("#endings > button:nth-child(%d)", 1+n%2))
		p.expect("tree.variant + ' ' + tree.ending + ' ' + Object.values(tree.counts.at(-1)).join(' ')",
			fmt.Sprint(want.Variant, " ", want.Ending, " ", want.Schedules, want.Failing, want.Stranded, want.Lost,
				want.Dead))
		p.contains(`document.querySelector("#shares").innerText`,
			fmt.Sprintf("%d of %d orders", want.Lost, want.Schedules))
	}
	if n != 6 {
		t.Errorf("%d variants with their endings, want 6", n)
	}
}

// Each control does what it says; a schedule is left at a step for another branch.
func TestRaceControls(t *testing.T) {
	p := open(t, newMachine(t).race("none"), 400, 860, "light")
	p.expect("document.documentElement.scrollWidth <= innerWidth", "true")
	p.click("#stranded")
	p.expect("letters(path)", "1UUUU1122")
	for range 3 {
		p.keys(kb.ArrowRight)
	}
	p.expect("document.querySelector('.now').classList.contains('gone')", "true")
	p.contains(`document.querySelector("#where").textContent`, "171 of 171 orders fail (100 %)")
	p.keys(kb.ArrowLeft)
	p.click("#choices > button:nth-child(1)") // packet 1 before the UPDATE takes
	p.expect("letters(path)", "1U1")
	p.contains(`document.querySelector("#ends").innerText`, "not chosen to its end yet")
	p.keys("2")
	p.expect("letters(path)", "1U12")
	p.click("#last")
	p.expect("!!tree.nodes[path[at]].e && document.querySelector('#ends').className !== ''", "true")
	p.keys(kb.Home)
	p.expect("at", "0")
	p.keys(kb.End)
	p.expect("at === path.length - 1", "true")
	p.click("#first")
	p.click("#run")
	p.wait("at >= 2")
	p.keys(kb.ArrowLeft)
	p.expect(`document.querySelector("#run").textContent`, "run")
	for _, id := range []string{"#failing", "#lost"} {
		p.click(id)
		p.expect(`document.querySelector("#ends").className`, "wrong")
	}
	p.click("#any")
	p.expect("!!tree.nodes[path.at(-1)].e", "true")
	p.fill("#letters", "1U1X")
	p.keys(kb.Enter)
	p.contains(`document.querySelector("#said").textContent`, "“X” cannot go on at place 4")
	p.fill("#letters", "1UU")
	p.keys(kb.Enter)
	p.expect("letters(path) + at", "1UU3")
	p.click("#steps > li:nth-child(3)")
	p.expect("at", "1")
	p.click("#variants > button:nth-child(3)")
	p.expect(`document.querySelector("#failing").disabled && document.querySelector("#ends").className`, "right")
}

// TestRaceScreenshots writes pictures of the race, for people to look at.
func TestRaceScreenshots(t *testing.T) {
	if *imgs == "" {
		t.Skip("no -img")
	}
	if err := os.MkdirAll(*imgs, 0o755); err != nil {
		t.Fatal(err)
	}
	url := newMachine(t).race("none,timeout")
	for _, w := range windows {
		for _, th := range []theme{"light", "dark"} {
			p := open(t, url, w.width, w.height, th)
			for range 3 {
				p.click("#forth")
			}
			p.write(fmt.Sprintf("race-%d-%s", w.width, th))
		}
	}
}
