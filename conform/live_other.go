//go:build !linux

package conform

import (
	"errors"
	"time"
)

func bootHost(*Scenario, func() time.Time) (Machine, error) {
	return nil, &GoneError{errors.New("af_key: is Linux's; this system has none")}
}
