// Package spelling finds the word that somebody meant.
package spelling

import "strings"

// Nearest is the candidate that differs least from text in any case, or "" if none is near.
func Nearest(text string, candidates []string) string {
	best, bestAt := "", 3
	if len(text) <= 3 {
		bestAt = 2
	}
	for _, c := range candidates {
		if d := Distance(strings.ToLower(text), c); d < bestAt {
			best, bestAt = c, d
		}
	}
	return best
}

// Distance counts how many bytes must be inserted, removed, changed or swapped with a neighbour to make b of a. Of long
// words it is only an upper bound.
func Distance(a, b string) int {
	if len(a) > 40 || len(b) > 40 {
		return max(len(a), len(b))
	}
	var before, last []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
