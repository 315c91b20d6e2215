package wire

// A Slot is a field at a fixed place in a structure, such as a base header or an extension.
type Slot struct {
	Name    string // as that of a [Field]
	Offset  int    // in the structure, bytes
	Size    int    // bytes
	Meaning string // in words; "" if there is nothing to say
}

// HeaderLayout lists the fields of the base header. The slice belongs to the caller, here and in what follows.
func (d *Dialect) HeaderLayout() []Slot { return slots(d.headerFields()) }

// ExtHeaderLayout lists the fields that every extension begins with.
func (d *Dialect) ExtHeaderLayout() []Slot { return slots(extHeaderFields) }

// ExtLayout lists the fields of the fixed part of an extension, its header among them; nil if the dialect does not have
// it.
func (d *Dialect) ExtLayout(t ExtType) []Slot {
	r := d.ext(t)
	if r == nil {
		return nil
	}
	return slots(extHeaderFields, r.fields)
}

// PartLayout lists the fields of one of the parts that follow the fixed part of an extension: a combination of a
// PROPOSAL, an algorithm of a SUPPORTED_AUTH or SUPPORTED_ENCRYPT, a request of an X_POLICY. What follows the fields of
// a request is not among them. It is nil for other extensions.
func (d *Dialect) PartLayout(t ExtType) []Slot {
	r := d.ext(t)
	if r == nil || r.shape.part == nil {
		return nil
	}
	return slots(r.shape.part(d))
}

func slots(lists ...[]field) (all []Slot) {
	off := 0
	for _, fields := range lists {
		for _, f := range fields {
			all = append(all, Slot{f.name, off, f.size, f.meaning})
			off += f.size
		}
	}
	return all
}
