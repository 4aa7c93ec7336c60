package doctor

import (
	"context"
	"fmt"
	"net/netip"
)

// Relays looks at whose word is taken for the address of a client (S-43). setting is the one that
// names them.
func Relays(setting string, nets []netip.Prefix) Check {
	return Check{Name: "trust", About: setting, Look: func(context.Context) []Finding {
		var out []Finding
		for _, n := range nets {
			if a := n.Addr(); a.IsPrivate() || a.IsLoopback() || a.Is4() && n.Bits() >= 28 || a.Is6() && n.Bits() >= 64 {
				continue
			}
			out = append(out, Finding{State: Warn, Sentence: fmt.Sprintf("%v is trusted to say who a client is: are all of its addresses yours?", n),
				Do: "name the addresses one by one; never a provider's networks, where anybody can rent one", Reference: guideMX})
		}
		if len(out) == 0 {
			out = append(out, Finding{State: Ok, Sentence: "nobody is trusted by a wide network"})
		}
		return out
	}}
}
