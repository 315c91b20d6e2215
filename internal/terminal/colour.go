package terminal

// Columns is how wide a line for people may be.
const Columns = 80

// Colours of ANSI terminals.
const (
	Bold   = "1"
	Dim    = "2"
	Red    = "31"
	Green  = "32"
	Yellow = "33"
	Cyan   = "36"
)

// A Painter colours text, or leaves it alone.
type Painter bool

// Paint has text in a colour, if there are colours; no colour leaves it as it is.
func (p Painter) Paint(colour, text string) string {
	if !p || colour == "" || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// StateColour is the colour of an SA's state by its name.
func StateColour(state string) string {
	switch state {
	case "mature":
		return Green
	case "larval", "dying", "idle":
		return Yellow
	case "dead":
		return Red
	}
	return ""
}

// VerdictColour is the colour of a packet's verdict by its name.
func VerdictColour(verdict string) string {
	switch verdict {
	case "delivered", "transmitted", "sent":
		return Green
	case "queued", "held":
		return Yellow
	case "dropped":
		return Red
	}
	return ""
}
