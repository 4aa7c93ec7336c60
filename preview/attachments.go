package preview

import (
	"context"
	"io"
	"slices"
	"strings"

	"postern/filters"
	"postern/mail"
)

// An Attachment is a file in the message, or a file inside of one.
type Attachment struct {
	Index    int      `json:"index"`              // for CopyAttachment; -1 when it cannot be copied out by itself
	Name     string   `json:"name"`               // as a good mail reader shows it; "" without one
	Names    []string `json:"names,omitempty"`    // other names that some reader may see or save it under
	Type     string   `json:"type"`               // as declared
	RealType string   `json:"real_type"`          // by its first bytes
	Mismatch bool     `json:"mismatch,omitempty"` // the two differ in a way that matters
	Size     int      `json:"size"`
	SHA256   string   `json:"sha256,omitempty"`
	Inside   string   `json:"inside,omitempty"` // the archive that it lies in
	Level    int      `json:"level"`            // 0 for a part of the message, 1 for a file in an archive, and so on

	Encrypted  bool `json:"encrypted,omitempty"`
	Executable bool `json:"executable,omitempty"` // a program or script by its bytes or one of its names
	Macros     bool `json:"macros,omitempty"`     // an Office file of a kind that runs macros, or one that holds some
	Active     bool `json:"active,omitempty"`     // of a kind that a browser or a desktop runs: HTML, SVG, shortcuts, programs
	Members    int  `json:"members,omitempty"`    // files in the archive, also those that are not listed
}

// readAttachments lists the files as rules see them; members come behind their archive.
func readAttachments(r *filters.Reading) []Attachment {
	var out []Attachment
	next := 0
	for i := range r.Files {
		f := &r.Files[i]
		a := Attachment{Index: -1, Name: VisibleName(f.Name), Type: f.Type, RealType: f.RealType, Size: f.Size, SHA256: f.SHA256, Inside: VisibleName(f.Archive),
			Encrypted: f.Encrypted, Executable: f.Executable, Members: f.Members}
		if f.Place.Ok() {
			a.Index = next
			next++
		}
		a.Level = f.Level
		for _, n := range f.Names {
			if v := VisibleName(n); v != a.Name && !slices.Contains(a.Names, v) {
				a.Names = append(a.Names, v)
			}
		}
		a.Mismatch = mismatch(f.Type, f.RealType)
		a.Macros = has(f, macroExtensions)
		if a.Level > 0 && strings.HasSuffix(strings.ToLower(f.Name), "vbaproject.bin") {
			if j := outermost(out); j >= 0 {
				out[j].Macros = true
			}
		}
		a.Active = f.Executable || has(f, activeExtensions) || slices.Contains(activeTypes, f.Type) || slices.Contains(activeTypes, f.RealType)
		out = append(out, a)
	}
	return out
}

// outermost is the last file that lies in no archive: members come behind theirs.
func outermost(list []Attachment) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i].Level == 0 {
			return i
		}
	}
	return -1
}

func has(f *filters.ReadingFile, exts []string) bool {
	return slices.ContainsFunc(f.Extensions, func(e string) bool { return slices.Contains(exts, e) })
}

var (
	macroExtensions  = []string{"docm", "dotm", "xlsm", "xltm", "xlam", "xlsb", "pptm", "potm", "ppsm", "ppam", "sldm"}
	activeExtensions = []string{"htm", "html", "xhtml", "shtml", "xht", "mht", "mhtml", "svg", "svgz", "xml", "xsl", "eml", "one", "iso", "img", "vhd", "vhdx"}
	activeTypes      = []string{"text/html", "application/xhtml+xml", "image/svg+xml"}
)

// mismatch reports whether what a file is called and what it is differ in kind. Mail programs call
// much application/octet-stream, and text of every kind text/plain: that tells nothing.
func mismatch(declared, real string) bool {
	if declared == "" || real == "" || declared == real || declared == "application/octet-stream" || real == "application/octet-stream" {
		return false
	}
	major, _, _ := strings.Cut(declared, "/")
	realMajor, _, _ := strings.Cut(real, "/")
	switch {
	case major == realMajor && (major == "text" || major == "audio" || major == "video"):
		return real == "text/html" || real == "text/x-shellscript"
	case realMajor == "text" && (major == "application" || major == "message"):
		return real == "text/html" && !strings.Contains(declared, "xml") && !strings.Contains(declared, "html")
	case strings.HasPrefix(declared, "application/") && real == "application/zip":
		return false // most document formats are zip archives
	case strings.HasPrefix(declared, "application/") && (real == "application/x-ole-storage" || strings.Contains(real, "openxml")):
		return false
	}
	return strings.TrimPrefix(declared, "application/x-") != strings.TrimPrefix(real, "application/")
}

// CopyAttachment writes the attachment with the index to w, decoded. It reads the message again and
// keeps no file in memory. An index that is none gives filters.ErrNoFile.
func CopyAttachment(ctx context.Context, body *mail.Body, index int, w io.Writer) error {
	r, err := filters.ReadMessage(ctx, body, filters.ReadingLimits{Text: 1, Image: 1, Total: 1, Flat: true})
	if err != nil {
		return err
	}
	for i := range r.Files {
		if !r.Files[i].Place.Ok() {
			continue
		}
		if index == 0 {
			return filters.CopyFile(ctx, body, r.Files[i].Place, w)
		}
		index--
	}
	return filters.ErrNoFile
}
