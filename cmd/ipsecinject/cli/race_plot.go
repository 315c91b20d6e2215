package cli

import (
	"context"
	"fmt"
	"image/color"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/pfkeyd/pfkeyd/cmd/internal/command"
	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/internal/racelab"
)

// raceColours can be told apart by the colour-blind (Okabe and Ito), in the order of the variants.
var raceColours = []color.RGBA{{0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x72, 0xb2, 0xff}, {0x00, 0x9e, 0x73, 0xff}}

// rates are the points of one variant, with their intervals.
type rates []racelab.FreeResult

// plotRace draws by the delay how often the UPDATE came between the packets, which is what it takes, and below it how
// often a packet was stranded or lost, with the intervals of 95 %: one line for each variant.
func plotRace(ctx context.Context, file string, results []racelab.FreeResult) error {
	astride, err := racePlot(results, "How often the UPDATE comes between the packets",
		func(r racelab.FreeResult) (rate, low, high float64) {
			low, high = racelab.Wilson(r.Astride, r.Trials)
			return float64(r.Astride) / float64(r.Trials), low, high
		})
	if err != nil {
		return err
	}
	hits, err := racePlot(results, "How often that strands or loses a packet",
		func(r racelab.FreeResult) (rate, low, high float64) {
			return r.Rate, r.Low, r.High
		})
	if err != nil {
		return err
	}
	const width, height, margin = 8 * vg.Inch, 8 * vg.Inch, 8
	c := vgsvg.New(width, height)
	all := draw.New(c)
	astride.Draw(draw.Crop(all, margin, -2*margin, height/2+margin, -margin))
	hits.Draw(draw.Crop(all, margin, -2*margin, margin, -height/2-margin))
	f, err := files.Create(ctx, file, 0o666)
	if err != nil {
		return err
	}
	if _, err := c.WriteTo(f); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}

// racePlot draws one rate.
func racePlot(
	results []racelab.FreeResult, title string, rate func(racelab.FreeResult) (rate, low, high float64),
) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = title
	p.X.Label.Text = "from message 3 to UPDATE"
	p.Y.Label.Text = "Quick Modes, %"
	p.Y.Label.TextStyle.Font.Size = 10
	p.Title.Padding = 4
	p.Y.Min = 0
	p.Legend.Top = true
	p.Legend.TextStyle.Font.Size = 10
	p.Add(plotter.NewGrid())

	// The delays are not evenly spaced and may be 0: each has a place of its own.
	place := map[time.Duration]float64{}
	var names []string
	of := map[string]rates{}
	for _, r := range results {
		if _, ok := place[r.Delay]; !ok {
			place[r.Delay] = float64(len(place))
			names = append(names, r.Delay.String())
		}
		of[r.Variant] = append(of[r.Variant], r)
	}
	p.NominalX(names...)
	drawn := 0
	for i, v := range racelab.Variants() {
		rs := of[v]
		if len(rs) == 0 {
			continue
		}
		var data struct {
			plotter.XYs
			plotter.YErrors
		}
		for _, r := range rs {
			x := place[r.Delay] + 0.12*float64(drawn) // beside each other, so that intervals can be seen
			at, low, high := rate(r)
			data.XYs = append(data.XYs, plotter.XY{X: x, Y: 100 * at})
			data.YErrors = append(data.YErrors, struct{ Low, High float64 }{100 * (at - low), 100 * (high - at)})
		}
		drawn++
		line, dots, err := plotter.NewLinePoints(data.XYs)
		if err != nil {
			return nil, err
		}
		bars, err := plotter.NewYErrorBars(data)
		if err != nil {
			return nil, err
		}
		line.Color, dots.Color, bars.Color = raceColours[i], raceColours[i], raceColours[i]
		dots.Shape = draw.CircleGlyph{}
		p.Add(line, dots, bars)
		p.Legend.Add(fmt.Sprintf("%s, %s each", v, command.Count(rs[0].Trials, "trial")), line, dots)
	}
	p.X.Max = float64(len(names)) - 0.5
	p.Y.Max *= 1.2 // room for the legend
	return p, nil
}
