package filters

// A defect is something about the form of a message that readers may disagree on, or that is
// against the standards. Its word is stable: rules name it.
type defect uint8

const (
	malformedHeader defect = iota
	hiddenField
	fromMissing
	fromMultiple
	fromMalformed
	dupHeader
	typeConflict
	typeMalformed
	typeUnknown
	boundaryConflict
	boundaryMissing
	boundaryOdd
	boundaryLong
	boundaryAbsent
	boundaryMismatch
	boundaryJunk
	boundaryUnterminated
	boundaryUnexpected
	partAfterClose
	embeddedPart
	encodingConflict
	encodingOdd
	encodingUnknown
	encodingOnMultipart
	base64Junk
	base64Padding
	base64Lines
	base64Short
	qpBad
	qpBadText
	qpBlanks
	nameConflict
	nameOdd
	nameControl
	partialMessage
	externalBody
	globalMessage
	uuencoded
	yencoded
	binhexed
	typeMismatch
	archiveConflict
	archiveOdd
	nulByte
	bareCR
	mixedLineEnds
	headerUnended
	eightBitHeader
	dateMissing
	dateMalformed
	parsersDisagree
	overLimits
	defectCount
)

// defectTable says of each defect its word, whether it is serious, and what it means. A serious
// one makes the message malformed: honest senders do not produce it, and readers that disagree
// about it are how attacks are hidden. The others are the sloppiness of ordinary mail.
var defectTable = [defectCount]struct {
	word    string
	serious bool
	doc     string
}{
	malformedHeader:      {"malformed_header", true, "a line of a header section is no field: no colon, an illegal name, or blank-looking (A-04)"},
	hiddenField:          {"hidden_field", true, "a field that matters stands in the continuation of another one"},
	fromMissing:          {"from_missing", true, "there is no From field (A-01)"},
	fromMultiple:         {"from_multiple", true, "more than one From field, or one that names several mailboxes (A-01)"},
	fromMalformed:        {"from_malformed", true, "readers may see different authors in the From field (A-01)"},
	dupHeader:            {"dup_header", false, "a field that may stand once stands more than once (A-02); content.duplicates has the names"},
	typeConflict:         {"type_conflict", true, "two Content-Type fields of one part say different things"},
	typeMalformed:        {"type_malformed", true, "a Content-Type value that readers take for different types"},
	typeUnknown:          {"type_unknown", false, "a Content-Type value without a subtype"},
	boundaryConflict:     {"boundary_conflict", true, "more than one boundary for one multipart"},
	boundaryMissing:      {"boundary_missing", true, "a multipart without a boundary"},
	boundaryOdd:          {"boundary_odd", true, "a boundary parameter that readers read differently: RFC 2231, comments, blanks, misplaced quotes"},
	boundaryLong:         {"boundary_long", true, "a boundary of more than 200 bytes"},
	boundaryAbsent:       {"boundary_absent", false, "the boundary of a multipart never comes"},
	boundaryMismatch:     {"boundary_mismatch", true, "the boundary of a multipart never comes, but another one does"},
	boundaryJunk:         {"boundary_junk", true, "text behind the boundary on its line: some readers see a delimiter, some do not"},
	boundaryUnterminated: {"boundary_unterminated", false, "a multipart without its closing delimiter"},
	boundaryUnexpected:   {"boundary_unexpected", false, "a boundary parameter on what is no multipart"},
	partAfterClose:       {"part_after_close", true, "a part behind the closing delimiter of its multipart"},
	embeddedPart:         {"embedded_part", false, "a delimiter and a part header where no multipart says so; its names are listed too"},
	encodingConflict:     {"encoding_conflict", true, "two Content-Transfer-Encoding fields of one part say different things"},
	encodingOdd:          {"encoding_odd", true, "a Content-Transfer-Encoding that only some readers decode"},
	encodingUnknown:      {"encoding_unknown", false, "an unknown Content-Transfer-Encoding, read as 8bit by all"},
	encodingOnMultipart:  {"encoding_on_multipart", false, "base64 or quoted-printable on a multipart (RFC 2045 6.4 forbids it)"},
	base64Junk:           {"base64_junk", true, "characters in base64 that do not belong there"},
	base64Padding:        {"base64_padding", true, "data behind the padding of base64"},
	base64Lines:          {"base64_lines", true, "base64 in lines that are no multiples of four: line by line it decodes differently"},
	base64Short:          {"base64_short", false, "base64 that ends within a quantum"},
	qpBad:                {"qp_bad", true, "a bad escape in a quoted-printable attachment"},
	qpBadText:            {"qp_bad_text", false, "a bad escape in quoted-printable text"},
	qpBlanks:             {"qp_blanks", false, "blanks behind a soft line break of quoted-printable, which some readers do not take for one then"},
	nameConflict:         {"name_conflict", false, "readers may see different file names for one attachment"},
	nameOdd:              {"name_odd", false, "a file name parameter against the grammar: RFC 2047 inside, blanks, comments, missing pieces"},
	nameControl:          {"name_control", false, "control, direction or NUL characters in a file name"},
	partialMessage:       {"partial_message", true, "message/partial: a piece of a message that can only be judged as a whole"},
	externalBody:         {"external_body", false, "message/external-body: the content is elsewhere"},
	globalMessage:        {"global_message", true, "message/global outside of a report: few scanners look into it"},
	uuencoded:            {"uuencode", false, "a uuencoded file within text"},
	yencoded:             {"yenc", false, "a yEnc file within text"},
	binhexed:             {"binhex", false, "a BinHex file within text"},
	typeMismatch:         {"type_mismatch", false, "a part declared as text is something else by its first bytes"},
	archiveConflict:      {"archive_conflict", true, "the lists of names in a zip archive contradict each other, or its files lie over one another"},
	archiveOdd:           {"archive_odd", false, "an archive that is cut short or broken, or one within an archive that cannot be looked into"},
	nulByte:              {"nul", true, "a NUL byte outside of binary parts"},
	bareCR:               {"bare_cr", true, "a CR without LF: some readers end a line there"},
	mixedLineEnds:        {"mixed_line_ends", true, "both CRLF and bare LF"},
	headerUnended:        {"header_unended", false, "the header section of the message has no empty line after it"},
	eightBitHeader:       {"eight_bit_header", false, "bytes in the header that are neither ASCII nor UTF-8"},
	dateMissing:          {"date_missing", false, "there is no Date field"},
	dateMalformed:        {"date_malformed", false, "a Date field that cannot be read"},
	parsersDisagree:      {"parsers_disagree", false, "a second, stricter parser sees other parts or fails"},
	overLimits:           {"limits", true, "a limit was reached: header, parts, depth, names, archive members, archives within archives, what they unpack to"},
}

// defects is a set of them.
type defects struct{ bits uint64 }

func (d *defects) add(x defect)      { d.bits |= 1 << x }
func (d *defects) has(x defect) bool { return d.bits>>x&1 != 0 }
func (d *defects) any() bool         { return d.bits != 0 }

// words lists the set in the order of the table.
func (d *defects) words() []string {
	if d.bits == 0 {
		return nil
	}
	var out []string
	for x := range defectCount {
		if d.has(x) {
			out = append(out, defectTable[x].word)
		}
	}
	return out
}

// serious reports whether the set makes a message malformed.
func (d *defects) serious() bool {
	for x := range defectCount {
		if d.has(x) && defectTable[x].serious {
			return true
		}
	}
	return false
}

// A DefectWord is one word of content.defects.
type DefectWord struct {
	Word, Doc string
	Malformed bool // it makes content.malformed true
}

// DefectWords lists them all.
func DefectWords() []DefectWord {
	out := make([]DefectWord, defectCount)
	for i, d := range defectTable {
		out[i] = DefectWord{d.word, d.doc, d.serious}
	}
	return out
}
