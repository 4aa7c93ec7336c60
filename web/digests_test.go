package web

import (
	"strings"
	"testing"

	"postern/digest"
	"postern/mail"
	"postern/people"
)

// Whoever has an address inside says on the own page, or by the API, how often a digest comes;
// others have nothing to say.
func TestOwnDigest(t *testing.T) {
	x := newSite(t, httpsOrigin, nil)
	domains, err := mail.NewDomainSet([]string{"example.org"})
	if err != nil {
		t.Fatal(err)
	}
	if x.cfg.Digests, err = digest.Open(t.Context(), digest.Options{DB: x.db, Domains: domains, Default: digest.Daily}); err != nil {
		t.Fatal(err)
	}
	x.add("ann@example.org", people.User)
	x.add("root", people.Admin)
	ann, root := x.browser().signIn("ann@example.org"), x.browser().signIn("root")
	if w := ann.get("/account"); !strings.Contains(w.Body.String(), "as this site has it (daily)") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ann.get("/api/v1/me/digest"); w.Code != 200 || strings.TrimSpace(w.Body.String()) != `{"interval":"daily"}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ann.post("/account/digest", "interval", "weekly"); w.Code != 303 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ann.get("/account"); !strings.Contains(w.Body.String(), `<option value="weekly" selected>`) {
		t.Errorf("%s", w.Body)
	}
	if w := ann.get("/api/v1/me/digest"); strings.TrimSpace(w.Body.String()) != `{"interval":"weekly","chosen":true}` {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := ann.post("/account/digest", "interval", "<b>often"); w.Code != 422 || strings.Contains(w.Body.String(), "<b>often") {
		t.Errorf("%d %s", w.Code, w.Body)
	}
	if w := root.get("/account"); w.Code != 200 || strings.Contains(w.Body.String(), "Digests") {
		t.Errorf("somebody without an address: %d", w.Code)
	}
	if w := root.get("/api/v1/me/digest"); w.Code != 404 {
		t.Errorf("somebody without an address: %d %s", w.Code, w.Body)
	}
	if w := root.post("/account/digest", "interval", "off"); w.Code != 422 {
		t.Errorf("somebody without an address: %d", w.Code)
	}
	who := &people.Actor{Person: people.Person{Login: "ann@example.org", Role: people.User, Addresses: []mail.Address{{Local: "ann", Domain: "example.org"}}}}
	for body, want := range map[string]string{`{"interval":"often"}`: "400", `{"interval":"hourly"}`: "hourly", `{}`: "daily"} {
		r := x.cfg.Digests
		w := apiCallWith(x.Server, who, "PUT", "/me/digest", body)
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %d %s", body, w.Code, w.Body)
		}
		if chosen, _, err := r.Wish(t.Context(), who); err != nil || want == "hourly" && chosen != digest.Hourly {
			t.Error(chosen, err)
		}
	}
	x.cfg.Digests = nil
	if w := ann.get("/account"); w.Code != 200 || strings.Contains(w.Body.String(), "Digests") {
		t.Errorf("without digests: %d", w.Code)
	}
}
