package people

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"postern/store"
)

// corrupted are hashes as damage, mistakes and malice leave them.
func corrupted(good string) map[string]string {
	parts := strings.Split(good, "$")
	with := func(i int, s string) string {
		p := append([]string{}, parts...)
		p[i] = s
		return strings.Join(p, "$")
	}
	return map[string]string{
		"empty":               "",
		"a space":             " ",
		"the password":        goodPassword,
		"cut off":             good[:len(good)-1],
		"half":                good[:len(good)/2],
		"longer":              good + "A",
		"a line more":         good + "\n",
		"another prefix":      with(1, "argon2i"),
		"bcrypt":              "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW",
		"plain":               "{PLAIN}" + goodPassword,
		"no version":          with(2, ""),
		"another version":     with(2, "v=16"),
		"no memory":           with(3, "m=0,t=1,p=1"),
		"no passes":           with(3, "m=64,t=0,p=1"),
		"no threads":          with(3, "m=64,t=1,p=0"),
		"terabytes":           with(3, "m=4294967295,t=1,p=1"),
		"for ever":            with(3, "m=64,t=4294967295,p=1"),
		"negative":            with(3, "m=-64,t=1,p=1"),
		"words behind":        with(3, "m=64,t=1,p=1,x=1"),
		"leading zeros":       with(3, "m=064,t=1,p=1"),
		"no salt":             with(4, ""),
		"a short salt":        with(4, "AAAA"),
		"no sum":              with(5, ""),
		"a short sum":         with(5, "AAAA"),
		"no base64":           with(5, strings.Repeat("*", 43)),
		"another sum":         with(5, strings.Repeat("A", 43)),
		"wildcards":           "%",
		"null":                "\x00",
		"two hashes":          good + good,
		"a dollar more":       good + "$",
		"every case folded":   strings.ToUpper(good),
		"long":                strings.Repeat("$argon2id", 1000),
		"another person's":    "$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
		"padded as in base64": with(4, parts[4]+"=="),
	}
}

// W-03: a hash that is damaged in any way lets nobody in, costs no more than a good one, and no less.
func TestW03DamagedHashes(t *testing.T) {
	b := newBed(t, nil)
	ann := b.person(Person{Login: "ann", Role: User}, goodPassword)
	var good string
	if err := b.o.DB.Reader().QueryRow("SELECT password FROM people").Scan(&good); err != nil {
		t.Fatal(err)
	}
	n := 0
	for name, hash := range corrupted(good) {
		err := b.o.DB.Write(t.Context(), func(tx *store.Tx) error {
			_, err := tx.Exec("UPDATE people SET password = ? WHERE id = ?", hash, ann.ID)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, password := range []string{goodPassword, "", hash, "AAAA"} {
			b.pass(time.Hour)
			before := b.passwords.computed.Load()
			if _, err := b.SignIn(t.Context(), "ann", password, at(fmt.Sprintf("192.0.2.%d", n%250+1)), ""); !errors.Is(err, ErrSignIn) {
				t.Errorf("%s (%.40q): %v", name, hash, err)
			}
			if got := b.passwords.computed.Load() - before; got != 1 {
				t.Errorf("%s: %d hashes computed", name, got)
			}
			n++
		}
	}
	if len(corrupted(good)) < 20 {
		t.Error("fewer than 20 ways")
	}
}

// W-03: whoever tries to sign in, as somebody or nobody, with whatever, costs one hash.
func TestW03OneHashForEverybody(t *testing.T) {
	b := newBed(t, nil)
	b.person(Person{Login: "ann", Role: User}, goodPassword)
	b.person(Person{Login: "nopass@example.org", Role: User}, "")
	for _, c := range []struct{ login, password string }{
		{"ann", goodPassword}, {"ann", "wrong"}, {"ann", ""}, {"ann", strings.Repeat("x", 2000)}, {"nobody", goodPassword}, {"", ""},
		{"nopass@example.org", ""}, {"nopass@example.org", goodPassword}, {"' OR 1=1 --", "x"}, {"ann\x00", goodPassword}, {strings.Repeat("a", 10_000), "x"},
	} {
		b.pass(time.Hour)
		before := b.passwords.computed.Load()
		_, err := b.SignIn(t.Context(), c.login, c.password, at("192.0.2.1"), "")
		if ok := c.login == "ann" && c.password == goodPassword; ok != (err == nil) || !ok && !errors.Is(err, ErrSignIn) {
			t.Errorf("%.20q: %v", c.login, err)
		}
		if n := b.passwords.computed.Load() - before; n != 1 {
			t.Errorf("%.20q with %d bytes: %d hashes", c.login, len(c.password), n)
		}
	}
}

// W-03: twelve characters, whatever they are; the same ones in another normal form are the same.
func TestW03NewPasswords(t *testing.T) {
	b := newBed(t, nil)
	for password, ok := range map[string]bool{
		"elevenchars": false, "twelve chars": true, "ааааааааааа": false, "дванадцять 12": true, strings.Repeat("x", 1025): false, strings.Repeat("x", 1024): true,
		"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff": false, "e\u0301e\u0301e\u0301e\u0301e\u0301e\u0301": false,
	} {
		if _, err := b.newPassword(t.Context(), password); (err == nil) != ok {
			t.Errorf("%.30q: %v", password, err)
		}
	}
	b.person(Person{Login: "zoe", Role: User}, "zoë is twelve+")
	if _, err := b.SignIn(t.Context(), "ZOE ", "zoe\u0308 is twelve+", at("192.0.2.1"), ""); err != nil {
		t.Error(err)
	}
}

// A hash that was cheaper is made anew at the next sign-in; many at once wait for each other.
func TestHashing(t *testing.T) {
	b := newBed(t, nil)
	b.person(Person{Login: "ann", Role: User}, goodPassword)
	dearer := Hashing{Memory: 128, Passes: 2, AtOnce: 1}
	b.passwords = newPasswords(dearer)
	b.signIn("ann")
	b.signIn("ann")
	if n := b.passwords.computed.Load(); n != 3 {
		t.Errorf("%d hashes for two sign-ins and one renewal", n)
	}
	p := newPasswords(Hashing{Memory: 64, Passes: 1, AtOnce: 2})
	p.turns <- struct{}{}
	p.turns <- struct{}{}
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := p.hash(t.Context(), goodPassword); err != nil {
				t.Error(err)
			}
		})
	}
	if n := p.computed.Load(); n != 0 {
		t.Errorf("%d hashes without a turn", n)
	}
	<-p.turns
	<-p.turns
	wg.Wait()
	if p.computed.Load() != 20 || len(p.turns) != 0 {
		t.Errorf("%d computed, %d turns taken", p.computed.Load(), len(p.turns))
	}
}

func FuzzParseHash(f *testing.F) {
	p := newPasswords(Hashing{Memory: 64, Passes: 1, AtOnce: 1})
	good, err := p.hash(f.Context(), goodPassword)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, h := range corrupted(good) {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if h, ok := parseHash(s); ok && (h.memory > 256<<10 || h.passes > 10 || h.threads > 4 || h.threads == 0 || len(h.salt) != saltSize || len(h.sum) != hashSize) {
			t.Errorf("%q is taken: %+v", s, h)
		}
	})
}

func FuzzSecrets(f *testing.F) {
	s := newSecret()
	for _, x := range []string{s, TokenPrefix + s, "", s + "=", s[:42], s[:42] + "B", strings.Repeat("\n", 43)} {
		f.Add(x)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if h := hashSecret(s); h != nil && (len(s) != 43 || strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") != "") {
			t.Errorf("%q is taken for a secret", s)
		}
		if h := hashToken(s); h != nil && !strings.HasPrefix(s, TokenPrefix) {
			t.Errorf("%q is taken for a token", s)
		}
		if h := hashRecovery(s); h != nil && len(s) < 16 {
			t.Errorf("%q is taken for a recovery code", s)
		}
	})
}
