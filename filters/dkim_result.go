package filters

import (
	"bytes"
	"slices"
)

// conclude puts key, body and header together. A body that was changed is a failure whether
// or not the key can be had just now.
func (s *dkimSignature) conclude(bodies [2][]byte) {
	switch f := s.checked; {
	case f.result == dkimPermerror, f.result == dkimPolicy:
		s.settle(f)
	case !bytes.Equal(bodies[s.form()], s.bodyHash):
		s.settle(dkimFault{dkimFail, "body hash did not verify"})
	case f.found():
		s.settle(f)
	default:
		s.settle(dkimFault{result: dkimPass})
	}
}

// weight orders results; the heaviest is the message's.
func weight(result string) int {
	return slices.Index([]string{dkimNone, dkimPermerror, dkimPolicy, dkimFail, dkimTemperror, dkimPass}, result)
}

func summary(sigs []*dkimSignature) DKIMFacts {
	f := DKIMFacts{Result: dkimNone, Count: len(sigs)}
	for _, s := range sigs {
		if one := &s.facts; weight(one.Result) > weight(f.Result) {
			f.Result, f.Reason = one.Result, one.Reason
		}
		if s.facts.Result == dkimPass && !slices.Contains(f.Domains, s.facts.Domain) {
			f.Domains = append(f.Domains, s.facts.Domain)
		}
	}
	// Those that pass must not fall off the end of the list.
	slices.SortStableFunc(sigs, func(a, b *dkimSignature) int { return weight(b.facts.Result) - weight(a.facts.Result) })
	f.Signatures = make([]DKIMSignature, min(len(sigs), maxListed))
	for i := range f.Signatures {
		f.Signatures[i] = sigs[i].facts
	}
	return f
}
