package engine

// Ref is what the public face of an engine embeds, so that the packages of this module find the engine behind it.
type Ref struct{ e *Engine }

// NewRef refers to e.
func NewRef(e *Engine) Ref { return Ref{e} }

func (r Ref) engine() *Engine { return r.e }

// Of returns the engine behind a face.
func Of(face interface{ engine() *Engine }) *Engine { return face.engine() }
