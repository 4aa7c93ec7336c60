package web

import (
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"postern/people"
	"postern/review"
)

// wantReasons makes the site want a reason for every act.
func wantReasons(d *fakeDesk) {
	for i := range d.rows {
		d.rows[i].Reasons = []review.Verb{review.Release, review.Delete, review.Spam, review.Approve, review.Deny}
	}
}

// Where the site wants reasons each form of a message has a field for one, also without JavaScript.
func TestReasonFields(t *testing.T) {
	b := newBed(t, people.Admin)
	for _, on := range []bool{false, true} {
		if on {
			wantReasons(b.desk)
		}
		page := b.get("/m/" + sampleID(2))
		for _, id := range []string{"release-why", "allow-why", "delete-why", "spam-why"} {
			_, field, found := strings.Cut(page, `id="`+id+`"`)
			field, _, _ = strings.Cut(field, ">")
			if required := strings.Contains(field, "required"); required != on || found != (on || id == "release-why") {
				t.Errorf("reasons wanted: %v, field %s: %v, required %v", on, id, found, required)
			}
		}
	}
	for _, verb := range []string{"delete", "spam", "release"} {
		if page := b.get("/m/" + sampleID(2) + "?act=" + verb); !strings.Contains(page, `id="`+verb+`" open`) {
			t.Errorf("act=%s opens nothing", verb)
		}
	}
	b.desk.rows[1].May = append(b.desk.rows[1].May, review.Approve, review.Deny)
	if page := b.get("/requests"); !strings.Contains(page, `placeholder="Answer" required`) {
		t.Error("an answer is wanted, and the page of requests does not say so")
	}
}

// The keys ask for the reason in place, in a list and at a message, and the act carries it.
func TestJourneyReasons(t *testing.T) {
	v := newVisit(t, people.Admin, wantReasons)
	v.open("/")
	v.keys("jd")
	v.until("d asks why", `document.querySelector("#why[open]") && document.activeElement.id === "why-text"`)
	if err := chromedp.Do(v.ctx, chromedp.KeyEvent(kb.Escape)); err != nil {
		t.Fatal(err)
	}
	v.until("Escape leaves it", `!document.querySelector("#why[open]") && document.activeElement.closest(".row")?.id === "r-`+sampleID(1)+`"`)
	if len(v.acts()) != 0 {
		t.Fatalf("%+v", v.acts())
	}
	v.keys("s")
	v.until("s asks why", `document.querySelector("#why[open]")`)
	enter := func(text string) {
		t.Helper()
		v.eval(`document.activeElement.value = ""`) // keys of the protocol come as a character, too, whatever the page says
		v.keys(text)
		if err := chromedp.Do(v.ctx, chromedp.KeyEvent(kb.Enter)); err != nil {
			t.Fatal(err)
		}
	}
	enter("junk")
	v.until("it is done and can be undone", `document.querySelector("#undo")`)
	v.open("/m/" + sampleID(2))
	v.keys("d")
	v.until("d opens the panel", `document.querySelector("#delete[open]") && document.activeElement.id === "delete-why"`)
	enter("old")
	v.until("it goes on", `location.pathname !== "/m/`+sampleID(2)+`" && document.querySelector("#undo")`)
	v.open("/m/" + sampleID(3))
	v.keys("r")
	v.until("r opens the panel", `document.querySelector("#release[open]") && document.activeElement.id === "release-why"`)
	enter("asked for")
	v.until("it is released", `document.body.innerText.includes("Released")`)
	v.open("/m/" + sampleID(4) + "?act=allow")
	if err := chromedp.Do(v.ctx, chromedp.Click(chromedp.CSS("#allow-form button[formaction]"))); err != nil {
		t.Fatal(err)
	}
	v.until("what an entry would let in is told without a reason", `document.querySelector("#effect").innerText.includes("In the last 30 days")`)
	v.keys("R")
	v.eval(`document.querySelector("#allow-why").focus()`)
	enter("partner")
	v.until("it is released and allowed", `document.body.innerText.includes("Released")`)
	var got []string
	for _, a := range v.acts() {
		if a.Do != review.Seen {
			got = append(got, string(a.Do)+" "+a.Reason)
		}
	}
	if want := []string{"spam junk", "delete old", "release asked for", "release partner"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
