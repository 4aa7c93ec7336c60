package rules

import "testing"

// A test may expect that there is no effect, which is another thing than not to say.
func TestExpectNoEffects(t *testing.T) {
	const text = `rules: [{name: a, when: 'client.helo == "x"', effects: ['tag_subject("t")']}]
tests:
  - {name: flow, facts: {client: {helo: x}}, expect: {effects: []}}
  - name: block
    facts: {client: {helo: y}}
    expect:
      do: deliver
      effects: [ ]
`
	p := compile(t, text)
	for i, want := range []int{1, 0} {
		test := p.Tests()[i]
		f, err := test.Over(testVocabulary(), nil)
		if err != nil {
			t.Fatal(err)
		}
		v, _ := p.Decide(f)
		if got := test.Expect.Differences(&v); len(got) != want {
			t.Errorf("%s: %v", test.Name, got)
		}
	}
}
