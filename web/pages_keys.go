package web

// A key is one of the keyboard map. The help dialog and the reviewers' guide are made from the list.
type key struct {
	Keys []string
	Does string
}

// keymap is what keys do, in lists and on the page of a message. static/list.js and
// static/message.js carry it out.
func keymap() []key {
	return []key{
		{[]string{"j", "k"}, "Next, previous message"},
		{[]string{"Enter"}, "Open it"},
		{[]string{"x"}, "Choose it"},
		{[]string{"J", "K"}, "Choose and go on (Shift)"},
		{[]string{"*"}, "Choose all that match, not only this page"},
		{[]string{"Esc"}, "Choose nothing; leave the message"},
		{[]string{"r"}, "Release, or ask for it"},
		{[]string{"R"}, "Release and allow the sender"},
		{[]string{"d"}, "Delete"},
		{[]string{"s"}, "Report as spam"},
		{[]string{"u"}, "Undo, for ten seconds"},
		{[]string{"h"}, "Headers"},
		{[]string{"v"}, "The raw message"},
		{[]string{"e"}, "Explain the verdict"},
		{[]string{"g"}, "All with the same subject"},
		{[]string{"f"}, "All of the same sender"},
		{[]string{"/"}, "Search"},
		{[]string{"?"}, "This help"},
	}
}
