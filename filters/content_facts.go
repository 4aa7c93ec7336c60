package filters

import "encoding/json"

// ContentFacts are what the message itself says and contains. Texts are decoded to UTF-8; lists
// are capped, and content.over_limits tells when something was left out for a limit.
type ContentFacts struct {
	Error string `expr:"error" json:"error,omitempty" doc:"Why the content could not be read; empty when it could."`

	Size            int                 `expr:"size" json:"size" doc:"Bytes of the message as received." example:"content.size > 10000000"`
	Subject         string              `expr:"subject" json:"subject" doc:"First Subject, decoded." example:"hasWord(content.subject, \"invoice\")"`
	SubjectRaw      string              `expr:"subject_raw" json:"subject_raw,omitempty" doc:"First Subject as it stands in the header, when it differs from the decoded one."`
	SubjectCharset  string              `expr:"subject_charset" json:"subject_charset,omitempty" doc:"Charset of the first encoded word in the subject, in lower case; without one utf-8 or unknown-8bit for what is beyond ASCII." case:"lower" example:"content.subject_charset == \"koi8-r\""`
	SubjectScripts  []string            `expr:"subject_scripts" json:"subject_scripts,omitempty" doc:"Scripts of the letters in a subject that is not all ASCII: Latin, Cyrillic, Greek, Han and so on; Mathematical is what looks like bold or script Latin and Greek, Other what is rare." enum:"Latin Cyrillic Greek Han Hiragana Katakana Hangul Arabic Hebrew Thai Devanagari Bengali Tamil Telugu Georgian Armenian Cherokee Coptic Mathematical Other" example:"\"Cyrillic\" in content.subject_scripts"`
	SubjectMixed    bool                `expr:"subject_mixed" json:"subject_mixed,omitempty" doc:"A word of the subject has letters of two scripts that look alike, such as a Cyrillic a in a Latin word."`
	From            []From              `expr:"from" json:"from,omitempty" doc:"Every mailbox that any reader may take for an author." example:"len(content.from) > 1"`
	FromFields      int                 `expr:"from_fields" json:"from_fields" doc:"How many fields may be taken for From; 1 in good mail." example:"content.from_fields > 1"`
	FromOK          bool                `expr:"from_ok" json:"from_ok" doc:"There is one From field with one mailbox that everybody reads alike." example:"not content.from_ok"`
	ReplyTo         []From              `expr:"reply_to" json:"reply_to,omitempty" doc:"Mailboxes of Reply-To."`
	To              []From              `expr:"to" json:"to,omitempty" doc:"Mailboxes of To, at most 64." example:"none(content.to, .address == rcpt.address)"`
	Cc              []From              `expr:"cc" json:"cc,omitempty" doc:"Mailboxes of Cc, at most 64." example:"len(content.to) + len(content.cc) > 50"`
	Date            string              `expr:"date" json:"date,omitempty" doc:"Date in RFC 3339 form, empty when it is missing or cannot be read." example:"content.date == \"\""`
	DateSkewSeconds int                 `expr:"date_skew_seconds" json:"date_skew_seconds" doc:"Seconds by which Date is ahead of the time of receipt; negative for the past; 0 without a Date." example:"content.date_skew_seconds > 86400 or content.date_skew_seconds < -7 * 86400"`
	MessageID       string              `expr:"message_id" json:"message_id,omitempty" doc:"Message-ID as it stands."`
	ListID          string              `expr:"list_id" json:"list_id,omitempty" doc:"List-Id between its angle brackets (RFC 2919)." example:"isSubdomain(content.list_id, \"lists.example.net\")"`
	ReceivedHops    int                 `expr:"received_hops" json:"received_hops" doc:"Number of Received fields." example:"content.received_hops > 20"`
	Header          map[string]string   `expr:"header" json:"header,omitempty" doc:"First field of each name (in lower case), decoded, at most 4 KiB." case:"lower"`
	Headers         map[string][]string `expr:"headers" json:"headers,omitempty" doc:"All fields of each name (in lower case), decoded, at most 4 KiB each." case:"lower" example:"len(content.headers[\"received\"]) > 9"`
	Duplicates      []string            `expr:"duplicates" json:"duplicates,omitempty" doc:"Names of fields that may stand once and stand more than once." example:"\"subject\" in content.duplicates"`

	Type        string       `expr:"type" json:"type" doc:"Declared type of the message, in lower case: text/plain, multipart/mixed." case:"lower" example:"content.type == \"multipart/encrypted\""`
	Parts       []Part       `expr:"parts" json:"parts,omitempty" doc:"The parts in order, containers too, at most 256."`
	PartCount   int          `expr:"part_count" json:"part_count" doc:"Number of parts."`
	Attachments []Attachment `expr:"attachments" json:"attachments,omitempty" doc:"Every part with a name, a disposition of attachment or a type other than text; files found within text; members of archives (zip, 7z, rar, tar, gzip, bzip2, xz; five deep), with archive set." example:"any(content.attachments, hasExtension(.name, \"docm xlsm\"))"`
	Links       []Link       `expr:"links" json:"links,omitempty" doc:"What the text and the HTML point to, each once, at most 1000." example:"len(content.links) > 100"`
	LinksCut    bool         `expr:"links_cut" json:"links_cut,omitempty" doc:"There are more links than listed."`
	Text        string       `expr:"text" json:"text,omitempty" doc:"Beginning of the plain text parts, decoded, at most 16 KiB." example:"hasWord(content.text, \"bitcoin\")"`
	HTML        string       `expr:"html" json:"html,omitempty" doc:"Beginning of the HTML parts as source, decoded, at most 16 KiB." example:"content.html contains \"<form\""`
	GTUBE       bool         `expr:"gtube" json:"gtube,omitempty" doc:"The test string of spam filters is in a text part."`

	Signed    bool `expr:"signed" json:"signed,omitempty" doc:"Signed by S/MIME or PGP; the signature is not verified."`
	Encrypted bool `expr:"encrypted" json:"encrypted,omitempty" doc:"Encrypted by S/MIME or PGP: nobody on the way can look inside."`

	Defects    []string `expr:"defects" json:"defects,omitempty" doc:"Words for what is wrong with the form of the message; what they mean stands below." enum:"malformed_header hidden_field from_missing from_multiple from_malformed dup_header type_conflict type_malformed type_unknown boundary_conflict boundary_missing boundary_odd boundary_long boundary_absent boundary_mismatch boundary_junk boundary_unterminated boundary_unexpected part_after_close embedded_part encoding_conflict encoding_odd encoding_unknown encoding_on_multipart base64_junk base64_padding base64_lines base64_short qp_bad qp_bad_text qp_blanks name_conflict name_odd name_control partial_message external_body global_message uuencode yenc binhex type_mismatch archive_conflict archive_odd nul bare_cr mixed_line_ends header_unended eight_bit_header date_missing date_malformed parsers_disagree limits" example:"\"date_missing\" in content.defects"`
	Unusual    bool     `expr:"unusual" json:"unusual,omitempty" doc:"The form is one that scanners of whole messages may not follow: decoded parts should be scanned too."`
	Malformed  bool     `expr:"malformed" json:"malformed,omitempty" doc:"A defect is one that readers may be deceived by; the built-in policy holds such mail."`
	OverLimits bool     `expr:"over_limits" json:"over_limits,omitempty" doc:"A limit was reached, so that not all of the message was looked at."`
}

// From is one mailbox.
type From struct {
	Name    string `expr:"name" json:"name,omitempty" doc:"Display name, decoded." example:"hasWord(.name, \"postmaster\")"`
	Address string `expr:"address" json:"address" doc:"Address in its canonical form." example:".address == \"ann@example.net\""`
	Domain  string `expr:"domain" json:"domain" doc:"Domain in lower case and A-labels, empty when the address has none." case:"lower" example:".domain == \"example.net\""`

	NameDomain string `expr:"name_domain" json:"name_domain,omitempty" doc:"Domain of an address that the display name shows, when it is not the mailbox's own."`
	NameMixed  bool   `expr:"name_mixed" json:"name_mixed,omitempty" doc:"A word of the display name has letters of two scripts that look alike."`
}

// A Part is one part of a message as its header declares it.
type Part struct {
	Type        string `expr:"type" json:"type" doc:"Declared type, in lower case." case:"lower" example:".type == \"text/calendar\""`
	RealType    string `expr:"real_type" json:"real_type,omitempty" doc:"Type by the first bytes, of what is attached or only called text; empty for containers and plain text." example:".real_type == \"application/pdf\" and .type != .real_type"`
	Charset     string `expr:"charset" json:"charset,omitempty" doc:"Declared charset, in lower case." case:"lower" example:".charset == \"windows-1251\""`
	Encoding    string `expr:"encoding" json:"encoding,omitempty" doc:"Content-Transfer-Encoding as declared, in lower case." case:"lower" example:".encoding == \"base64\""`
	Disposition string `expr:"disposition" json:"disposition,omitempty" doc:"Inline, attachment or what was declared."`
	Name        string `expr:"name" json:"name,omitempty" doc:"File name, empty without one." example:".name endsWith \".ics\""`
	Size        int    `expr:"size" json:"size" doc:"Decoded bytes; 0 for containers." example:".size > 1000000"`
	Depth       int    `expr:"depth" json:"depth" doc:"How deep it lies; 0 is the message itself." example:".depth > 4"`
}

// An Attachment is a file in a message, or inside of an archive in it.
type Attachment struct {
	Name             string   `expr:"name" json:"name" doc:"File name as a good mail reader shows it." example:"glob(.name, \"invoice*.htm*\")"`
	Names            []string `expr:"names" json:"names,omitempty" doc:"Every name that some reader may see or save it under, at most 16." example:"any(.names, hasExtension(#, \"exe scr\"))"`
	Extensions       []string `expr:"extensions" json:"extensions,omitempty" doc:"Last and last but one extension of every name, in lower case without dot." example:"\"docm\" in .extensions"`
	Type             string   `expr:"type" json:"type,omitempty" doc:"Declared type, in lower case." case:"lower" example:".type == \"application/octet-stream\""`
	RealType         string   `expr:"real_type" json:"real_type,omitempty" doc:"Type by the first bytes of the content." example:".real_type == \"application/zip\""`
	Executable       bool     `expr:"executable" json:"executable,omitempty" doc:"A program or script by its first bytes or the extension of one of its names."`
	Size             int      `expr:"size" json:"size" doc:"Decoded bytes." example:".size > 1000000"`
	SHA256           string   `expr:"sha256" json:"sha256,omitempty" doc:"SHA-256 of the decoded bytes, in hex." example:".sha256 startsWith \"275a021bbfb6\""`
	Encoding         string   `expr:"encoding" json:"encoding,omitempty" doc:"How it was encoded: base64, quoted-printable, uuencode, yenc, binhex, or empty." case:"lower" enum:"base64 quoted-printable uuencode yenc binhex"`
	Disposition      string   `expr:"disposition" json:"disposition,omitempty" doc:"Inline, attachment or what was declared."`
	Archive          string   `expr:"archive" json:"archive,omitempty" doc:"Name of the archive it lies in, with the names of archives within behind slashes: outer.zip/inner.zip; empty for a part of the message."`
	Encrypted        bool     `expr:"encrypted" json:"encrypted,omitempty" doc:"An archive with encrypted files in it, such a file, or an encrypted PDF or Office document: nobody on the way can look inside."`
	Members          int      `expr:"members" json:"members,omitempty" doc:"Number of files in the archive, and in the archives within." example:".members > 100"`
	MemberExtensions []string `expr:"member_extensions" json:"member_extensions,omitempty" doc:"Extensions of all files in the archive and in the archives within, also of those not listed." example:"\"js\" in .member_extensions"`
}

// A Link is a URL in the text.
type Link struct {
	URL      string `expr:"url" json:"url" doc:"The URL as it stands, at most 512 bytes." example:".url contains \"/wp-content/\""`
	Host     string `expr:"host" json:"host,omitempty" doc:"Its host in lower case and A-labels." example:"orgDomain(.host) == \"example.net\""`
	TextHost string `expr:"text_host" json:"text_host,omitempty" doc:"Host that the text of the link shows, when it is another one."`
}

// Abridged gives the facts without the text, for the journal: it outlives the message, and is
// no place for what people wrote. What Headers tells too is left out as well.
func (f ContentFacts) Abridged() any {
	f.Text, f.HTML, f.Header = "", "", nil
	return f
}

// Weight is about how many bytes the facts are.
func (f ContentFacts) Weight() int {
	n := 1024 + 64*len(f.Parts) + 1024*len(f.Attachments) + 128*(len(f.From)+len(f.ReplyTo)+len(f.To)+len(f.Cc))
	for _, l := range f.Links {
		n += len(l.URL) + 64
	}
	for name, all := range f.Headers {
		for _, v := range all {
			n += len(name) + len(v) + 16
		}
	}
	return n
}

// UnmarshalJSON reads facts, and puts back what Abridged left out and can be known.
func (f *ContentFacts) UnmarshalJSON(text []byte) error {
	type plain ContentFacts
	if err := json.Unmarshal(text, (*plain)(f)); err != nil {
		return err
	}
	f.Restore()
	return nil
}

// Restored names the facts that Restore puts back, each with the one that it is made of.
func (ContentFacts) Restored() map[string]string { return map[string]string{"header": "headers"} }

// Restore puts back what Abridged left out and can be known.
func (f *ContentFacts) Restore() {
	if f.Header != nil || len(f.Headers) == 0 {
		return
	}
	f.Header = make(map[string]string, len(f.Headers))
	for name, all := range f.Headers {
		if len(all) > 0 {
			f.Header[name] = all[0]
		}
	}
}
