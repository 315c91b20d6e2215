package browser

import (
	"fmt"
	"time"

	"github.com/chromedp/chromedp"
)

// conversation is what programs and their peer do to an engine under --clock virtual: packets that come before their
// keys, one that is replaced, one that is left.
const conversation = `
key=000102030405060708090a0b0c0d0e0f10111213
send() { ipsecinject send --src 192.0.2.2 --dst 192.0.2.1 --spi $1 --enc aes-gcm --enc-key $key --wait 0 >&2; }
ipseckey getspi esp src 192.0.2.2 dst 192.0.2.1 spi-min 0x1000 spi-max 0x1000 >&2
send 0x1000
echo update esp spi 0x1000 src 192.0.2.2 dst 192.0.2.1 encralg aes-gcm encrkey $key | ipseckey
send 0x1000
ipseckey getspi esp src 192.0.2.2 dst 192.0.2.1 spi-min 0x1001 spi-max 0x1001 >&2
send 0x1001
send 0x1001
send 0x2002
`

// settle lets the page draw what it has.
var settle = chromedp.Sleep(400 * time.Millisecond)

func chromedpFind(text string) step {
	return chromedp.Evaluate[chromedp.Void](fmt.Sprintf(`timeline.search(%q); timeline.find(1)`, text))
}
