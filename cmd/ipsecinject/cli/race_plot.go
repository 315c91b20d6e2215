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

	"github.com/pfkeyd/pfkeyd/internal/files"
	"github.com/pfkeyd/pfkeyd/racelab"
)

// raceColours can be told apart by the colour-blind (Okabe and Ito), in the order of the variants.
var raceColours = []color.RGBA{{0xd5, 0x5e, 0x00, 0xff}, {0x00, 0x72, 0xb2, 0xff}, {0x00, 0x9e, 0x73, 0xff}}

// rates are the points of one variant, with their intervals.
type rates []racelab.FreeResult

// plotRace draws rate against delay, one line for each variant, with the intervals of 95 %.
func plotRace(ctx context.Context, file string, results []racelab.FreeResult) error {
	p := plot.New()
	p.Title.Text = "How often the window is hit, by how long key management takes"
	p.X.Label.Text = "from message 3 to UPDATE"
	p.Y.Label.Text = "Quick Modes that stranded or lost a packet, %"
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
			data.XYs = append(data.XYs, plotter.XY{X: x, Y: 100 * r.Rate})
			data.YErrors = append(data.YErrors, struct{ Low, High float64 }{100 * (r.Rate - r.Low), 100 * (r.High - r.Rate)})
		}
		drawn++
		line, dots, err := plotter.NewLinePoints(data.XYs)
		if err != nil {
			return err
		}
		bars, err := plotter.NewYErrorBars(data)
		if err != nil {
			return err
		}
		line.Color, dots.Color, bars.Color = raceColours[i], raceColours[i], raceColours[i]
		dots.Shape = draw.CircleGlyph{}
		p.Add(line, dots, bars)
		p.Legend.Add(fmt.Sprintf("%s, %d trials each", v, rs[0].Trials), line, dots)
	}
	c := vgsvg.New(8*vg.Inch, 5*vg.Inch)
	p.X.Max = float64(len(names)) - 0.5
	p.Y.Max *= 1.2 // room for the legend
	const margin = 8
	p.Draw(draw.Crop(draw.New(c), margin, -2*margin, margin, -margin))
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
