package control

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pfkeyd/pfkeyd/internal/door"
)

// Error is the engine's no.
type Error struct {
	Code int // HTTP status
	Text string
}

func (e *Error) Error() string { return fmt.Sprintf("control: refused by the engine: %s", e.Text) }

// Client talks to the control port of one engine. It is safe for concurrent use.
//
// Errors are an *[Error] when the engine says no; one with ENOENT or ECONNREFUSED in its chain when there is no engine.
// A port on which somebody else listens than root or the own user is told nothing.
type Client struct{ http http.Client }

// NewClient makes a client of the control port at path. It connects when it is used.
func NewClient(path string) *Client {
	return &Client{http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return door.Dial(ctx, "unix", path)
		},
		MaxIdleConns: 1,
	}}}
}

// Close ends the connections that are not in use.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Status reads the engine. At most limit SAs are listed, and as many ACQUIREs and policies; 0 means as many as the port
// lists at all, which is 10000, less than 0 the default. The counts in the answer say how many there are.
func (c *Client) Status(ctx context.Context, limit int) (Status, error) {
	path := "/status"
	if limit >= 0 {
		path += "?sas=" + strconv.Itoa(limit)
	}
	var st Status
	err := c.json(ctx, http.MethodGet, path, nil, &st)
	return st, err
}

// Clock reads the clock.
func (c *Client) Clock(ctx context.Context) (Clock, error) {
	var cl Clock
	err := c.json(ctx, http.MethodGet, "/clock", nil, &cl)
	return cl, err
}

// Advance moves a virtual clock forward and runs what falls due; it returns what the clock shows then. An engine whose
// clock is the machine's refuses with code 409.
func (c *Client) Advance(ctx context.Context, by time.Duration) (Clock, error) {
	var cl Clock
	err := c.json(ctx, http.MethodPost, "/clock", advance{by.String()}, &cl)
	return cl, err
}

// Metrics reads the counters in the text format of Prometheus.
func (c *Client) Metrics(ctx context.Context) ([]byte, error) {
	return c.do(ctx, http.MethodGet, "/metrics", nil)
}

func (c *Client) json(ctx context.Context, method, path string, in, out any) error {
	b, err := c.do(ctx, method, path, in)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fmt.Errorf("control: answer to %s: %w", path, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, in any) ([]byte, error) {
	resp, err := c.open(ctx, method, path, in)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("control: answer to %s: %w", path, plain(err))
	}
	return b, nil
}

// open begins a request. The caller reads and closes the body of the answer, which is not an error.
func (c *Client) open(ctx context.Context, method, path string, in any) (*http.Response, error) {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(b)
	}
	// The host is never looked up: the transport connects to the socket.
	req, err := http.NewRequestWithContext(ctx, method, "http://engine"+path, body)
	if err != nil {
		return nil, err
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, fmt.Errorf("control: %w", plain(err))
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			return nil, fmt.Errorf("control: answer to %s: %w", path, plain(err))
		}
		var f failure
		if json.Unmarshal(b, &f) != nil || f.Error == "" {
			f.Error = strings.TrimSpace(resp.Status + " " + string(b[:min(len(b), 200)]))
		}
		return nil, &Error{resp.StatusCode, f.Error}
	}
	return resp, nil
}

// plain leaves out what is about HTTP in an error: there is no address to get anything from, only an engine.
func plain(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the engine has ended the connection: %w", err)
	}
	return err
}
