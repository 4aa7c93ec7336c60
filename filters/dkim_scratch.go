package filters

import (
	"crypto/sha256"
	"hash"
)

// A dkimScratch is room for one check, or for the hashes of one body.
type dkimScratch struct {
	header hash.Hash
	sum    [sha256.Size]byte
	text   []byte
	used   []bool
	bodies [2]bodyHash
}

// maxScratch is how much of a header is put together before it is hashed.
const maxScratch = 16 << 10

// body gives the hash of that form, as new.
func (w *dkimScratch) body(form int) bodyHash {
	switch {
	case w.bodies[form] != nil:
		w.bodies[form].reset()
	case form == 0:
		w.bodies[form] = newSimpleBody()
	default:
		w.bodies[form] = newRelaxedBody()
	}
	return w.bodies[form]
}
