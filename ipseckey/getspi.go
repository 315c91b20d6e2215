package ipseckey

import "context"

func (s *session) getSPI(ctx context.Context, words []word) error { return errAbandon }
