package main

import (
	"archive/zip"
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"net/netip"
	"strings"

	"github.com/emersion/go-msgauth/dkim"
)

// A demoMail is one of the sample mails: who sends what to whom.
type demoMail struct {
	What   string // for the table
	Client netip.Addr
	Helo   string
	From   string // MAIL FROM, "" for the null sender
	To     []string
	Sign   string // domain that signs; "" for none
	Raw    string // as sent, dots stuffed by the sender
}

// Test strings that scanners know, in halves so that this program is not found itself.
const (
	gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*" + "GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"
	eicar = `X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR` + `-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*`
)

// The sample senders' hosts; the addresses are those kept for documentation (RFC 5737).
func demoClients() (friend, shop, stranger netip.Addr) {
	return netip.MustParseAddr("203.0.113.10"), netip.MustParseAddr("203.0.113.20"), netip.MustParseAddr("198.51.100.66")
}

// demoZone is what the sample senders publish. friend.example signs with the given key.
func demoZone(key ed25519.PublicKey) string {
	return fmt.Sprintf(`
friend.example.                  300 IN TXT "v=spf1 ip4:203.0.113.10 -all"
s1._domainkey.friend.example.    300 IN TXT "v=DKIM1; k=ed25519; p=%s"
_dmarc.friend.example.           300 IN TXT "v=DMARC1; p=reject"
friend.example.                  300 IN MX 10 mail.friend.example.
mail.friend.example.             300 IN A 203.0.113.10
shop.example.                    300 IN TXT "v=spf1 ip4:203.0.113.20 -all"
shop.example.                    300 IN MX 10 mail.shop.example.
mail.shop.example.               300 IN A 203.0.113.20
_dmarc.shop.example.             300 IN TXT "v=DMARC1; p=quarantine"
bank.example.                    300 IN TXT "v=spf1 ip4:192.0.2.99 -all"
bank.example.                    300 IN MX 10 mail.bank.example.
mail.bank.example.               300 IN A 192.0.2.99
_dmarc.bank.example.             300 IN TXT "v=DMARC1; p=reject"
club.example.                    300 IN TXT "v=spf1 ip4:203.0.113.0/24 -all"
club.example.                    300 IN MX 10 mail.club.example.
mail.club.example.               300 IN A 203.0.113.30
`, base64.StdEncoding.EncodeToString(key))
}

// demoRules shows a rule per recipient on top of the built-in policy.
const demoRules = `# The built-in policy, and one rule of our own.
include: builtin
rules:
  - name: invoices-for-ben
    when: rcpt.address == "ben@example.org" and content.subject contains "invoice"
    class: policy
    do: quarantine
    because: "invoices to {{rcpt.local}} are looked at by accounting first"
`

func demoMails() []demoMail {
	friend, shop, stranger := demoClients()
	text := func(from, subject, body string) string {
		return header(from, subject) + "\r\n" + body + "\r\n"
	}
	return []demoMail{
		{What: "a clean mail, signed", Client: friend, Helo: "mail.friend.example", From: "eve@friend.example", To: []string{"ana@example.org"},
			Sign: "friend.example", Raw: text("Eve <eve@friend.example>", "Lunch on Friday?", "See you at noon.")},
		{What: "a newsletter, SPF only", Client: friend, Helo: "mail.club.example", From: "news@club.example", To: []string{"ana@example.org", "ben@example.org"},
			Raw: text("Chess Club <news@club.example>", "Next tournament", "It starts on Sunday.")},
		{What: "a bounce (null sender)", Client: friend, Helo: "mail.friend.example", From: "", To: []string{"ana@example.org"},
			Sign: "friend.example", Raw: text("Mail Delivery System <mailer-daemon@friend.example>", "Undelivered mail", "Your mail could not be delivered.")},
		{What: "forged: bank.example, p=reject", Client: stranger, Helo: "pc7.stranger.example", From: "x9@stranger.example", To: []string{"ana@example.org"},
			Raw: text("Your Bank <service@bank.example>", "Confirm your account", "Click https://bank.example.login.stranger.example/")},
		{What: "forged: shop.example, p=quarantine", Client: stranger, Helo: "pc7.stranger.example", From: "orders@shop.example", To: []string{"ana@example.org"},
			Raw: text("Shop <orders@shop.example>", "Your order", "Attached is nothing at all.")},
		{What: "two From fields", Client: shop, Helo: "mail.shop.example", From: "orders@shop.example", To: []string{"ana@example.org"},
			Raw: "From: Boss <boss@example.org>\r\n" + text("orders@shop.example", "Urgent transfer", "Please pay today.")},
		{What: "invoice.pdf.exe attached", Client: friend, Helo: "mail.friend.example", From: "eve@friend.example", To: []string{"ana@example.org"},
			Sign: "friend.example", Raw: attachment("Eve <eve@friend.example>", "The contract", "invoice.pdf.exe", []byte("MZ\x90\x00 not a real program"))},
		{What: "a script inside a zip", Client: friend, Helo: "mail.friend.example", From: "eve@friend.example", To: []string{"ana@example.org"},
			Sign: "friend.example", Raw: attachment("Eve <eve@friend.example>", "Photos", "photos.zip", zipOf("holiday.jpg.js", []byte("WScript.Echo(1)")))},
		{What: "the GTUBE spam test", Client: friend, Helo: "mail.friend.example", From: "eve@friend.example", To: []string{"ana@example.org"},
			Sign: "friend.example", Raw: text("Eve <eve@friend.example>", "Test", gtube)},
		{What: "the EICAR virus test", Client: friend, Helo: "mail.friend.example", From: "eve@friend.example", To: []string{"ana@example.org"},
			Sign: "friend.example", Raw: attachment("Eve <eve@friend.example>", "A document", "document.txt", []byte(eicar))},
		{What: "one mail, two fates", Client: friend, Helo: "mail.friend.example", From: "eve@friend.example", To: []string{"ana@example.org", "ben@example.org"},
			Sign: "friend.example", Raw: text("Eve <eve@friend.example>", "Your invoice 4711", "Payable within 30 days.")},
		{What: "an unknown recipient", Client: friend, Helo: "mail.friend.example", From: "eve@friend.example", To: []string{"nobody@example.org"},
			Raw: text("Eve <eve@friend.example>", "Hello?", "Anybody there?")},
		{What: "a relay attempt", Client: stranger, Helo: "pc7.stranger.example", From: "x9@stranger.example", To: []string{"victim@elsewhere.example"},
			Raw: text("x9@stranger.example", "Hi", "Relayed?")},
		{What: "an SMTP smuggling attempt", Client: friend, Helo: "mail.club.example", From: "news@club.example", To: []string{"ana@example.org"},
			Raw: text("news@club.example", "Innocent", "Text\n.\r\nMAIL FROM:<boss@example.org>\r\nRCPT TO:<ana@example.org>\r\nDATA\r\nFrom: boss@example.org\r\n\r\nPay now.")},
	}
}

func header(from, subject string) string {
	return "From: " + from + "\r\nTo: ana@example.org\r\nSubject: " + subject +
		"\r\nDate: Mon, 02 Nov 2026 10:00:00 +0000\r\nMessage-ID: <" + fmt.Sprintf("%x", subject+from) + "@demo.example>\r\n"
}

func attachment(from, subject, name string, data []byte) string {
	return header(from, subject) + "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"demo\"\r\n\r\n" +
		"--demo\r\nContent-Type: text/plain\r\n\r\nSee the attachment.\r\n--demo\r\n" +
		"Content-Type: application/octet-stream; name=\"" + name + "\"\r\nContent-Disposition: attachment; filename=\"" + name + "\"\r\n" +
		"Content-Transfer-Encoding: base64\r\n\r\n" + base64.StdEncoding.EncodeToString(data) + "\r\n--demo--\r\n"
}

func zipOf(name string, data []byte) []byte {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	if f, err := w.Create(name); err == nil { // a bytes.Buffer cannot fail
		_, _ = f.Write(data)
	}
	_ = w.Close()
	return b.Bytes()
}

// signed gives the message with a DKIM signature of its domain.
func (m *demoMail) signed(key crypto.Signer) (string, error) {
	if m.Sign == "" {
		return m.Raw, nil
	}
	var out strings.Builder
	err := dkim.Sign(&out, strings.NewReader(m.Raw), &dkim.SignOptions{
		Domain: m.Sign, Selector: "s1", Signer: key, Hash: crypto.SHA256,
		HeaderCanonicalization: dkim.CanonicalizationRelaxed, BodyCanonicalization: dkim.CanonicalizationRelaxed,
		HeaderKeys: []string{"From", "To", "Subject", "Date", "Message-ID", "List-Id"},
	})
	return out.String(), err
}
