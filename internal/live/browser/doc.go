// Package browser has the tests of the pages of pfkeyd live and ipsecinject race in a real browser. It is a module of
// its own, so that what drives the browser is in nobody's go.sum. It uses nothing of pfkeyd but its commands, as people
// do.
//
//	go test                                    all but the flood's limit; without Chromium it skips
//	go test -run TestFlood -limit 200ms        a click must be answered in that time
//	go test -run Screenshots -img DIR          pictures of the pages, as PNG
package browser
