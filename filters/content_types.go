package filters

import "slices"

// executableType reports types, as told from the first bytes, that a system runs.
func executableType(t string) bool { return slices.Contains(executableTypes, t) }

var executableTypes = []string{"application/vnd.microsoft.portable-executable", "application/x-elf", "application/x-executable", "application/x-sharedlib",
	"application/x-object", "application/x-mach-binary", "application/x-ms-installer", "application/x-ms-shortcut", "application/java-archive",
	"application/x-java-applet", "application/x-chrome-extension", "application/wasm", "text/x-shellscript", "text/x-python", "text/x-perl", "text/x-php",
	"text/x-ruby", "text/x-lua", "text/x-tcl", "text/javascript", "application/javascript"}

// executableExtension reports extensions that Windows, macOS or a desktop runs on a double
// click. Which extensions a site refuses is for rules; this is only the helper fact.
func executableExtension(e string) bool { return slices.Contains(executableExtensions, e) }

var executableExtensions = []string{"ade", "adp", "app", "appref-ms", "appx", "bas", "bat", "chm", "cmd", "com", "command", "cpl", "crt", "desktop", "dll", "exe", "fxp",
	"gadget", "hlp", "hta", "inf", "ins", "iqy", "isp", "jar", "jnlp", "job", "js", "jse", "ksh", "lnk", "mde", "msc", "msh", "msi", "msix", "msp", "mst", "ocx",
	"one", "ops", "pif", "pl", "prg", "ps1", "ps1xml", "ps2", "psc1", "psd1", "psm1", "py", "pyc", "pyw", "pyz", "reg", "rgs", "scf", "scr", "sct", "search-ms", "settingcontent-ms",
	"sh", "shb", "shs", "slk", "sys", "theme", "url", "vb", "vbe", "vbs", "vbscript", "vsmacros", "vxd", "website", "wll", "wlm", "ws", "wsc", "wsf", "wsh", "xbap", "xll", "xnk"}
