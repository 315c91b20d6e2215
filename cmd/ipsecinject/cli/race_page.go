package cli

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"

	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/racelab"
)

//go:embed race.html
var racePage []byte

// raceHole is where the page gets its data.
const raceHole = "/*DATA*/null"

// pageTree is a tree with the names of the schedules that are worth telling.
type pageTree struct {
	*racelab.Tree
	Shortest pageShortest `json:"shortest"`
}

// pageShortest are the shortest schedules that do each wrong; "" if none does.
type pageShortest struct {
	Stranded string `json:"stranded"`
	Lost     string `json:"lost"`
	Dead     string `json:"dead"`
}

// pageData is what the page reads.
type pageData struct {
	Variants []string   `json:"variants"`
	Endings  []string   `json:"endings"`
	Trees    []pageTree `json:"trees"`
}

// writeRacePage writes the lab as one page, on which every schedule can be played without the lab.
func writeRacePage(ctx context.Context, file string, f *raceFlags, trees []*racelab.Tree, of []racelab.Survey) error {
	data := pageData{Variants: f.faults, Endings: f.endings}
	for i, t := range trees {
		s := &of[i]
		data.Trees = append(data.Trees, pageTree{t, pageShortest{s.ShortestStranded, s.ShortestLost, s.ShortestDead}})
	}
	b, err := json.Marshal(data) // as the text of an element: it has no < in it
	if err != nil {
		return err
	}
	if bytes.Count(racePage, []byte(raceHole)) != 1 {
		return errors.New("the page has no place for its data")
	}
	return writeFile(ctx, file, bytes.Replace(racePage, []byte(raceHole), b, 1))
}

// writeFile writes a file whole.
func writeFile(ctx context.Context, file string, b []byte) error {
	f, err := files.Create(ctx, file, 0o666)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
