package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// remoteFlags have a command ask a gateway on another machine, over its API.
type remoteFlags struct {
	Server    string `help:"Ask a gateway over its API: https://HOST[:PORT], the address of its pages. The token comes from --token-file or POSTERN_TOKEN." placeholder:"URL"`
	TokenFile string `help:"File with the token for --server." placeholder:"FILE" type:"path"`
	CA        string `name:"ca" help:"Certificate of the authority behind that of --server, when it is your own." placeholder:"FILE" type:"path"`
}

// A remote is the API of a gateway.
type remote struct {
	base   string
	token  string
	client *http.Client
}

// remoteWait bounds a call; large messages take their time.
const remoteWait = 2 * time.Minute

// remote is the API that the flags name; nil when they name none.
func (f *remoteFlags) remote() (*remote, error) {
	if f.Server == "" {
		return nil, nil
	}
	u, err := url.Parse(f.Server)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.User != nil || u.RawQuery != "" {
		return nil, &usageError{fmt.Sprintf("--server %q: it is like https://quarantine.example.org", f.Server)}
	}
	if u.Scheme == "http" && !loopback(net.JoinHostPort(u.Hostname(), "80")) {
		return nil, &usageError{"--server: a token must not cross a network in clear: say https"}
	}
	r := &remote{base: strings.TrimSuffix(u.Scheme+"://"+u.Host+u.Path, "/") + "/api/v1"}
	if r.token, err = f.readToken(); err != nil {
		return nil, err
	}
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: 20 * time.Second}
	if f.CA != "" {
		pem, err := os.ReadFile(f.CA)
		if err != nil {
			return nil, err
		}
		if t.TLSClientConfig.RootCAs = x509.NewCertPool(); !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", f.CA)
		}
	}
	r.client = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error {
		return errors.New("it sends us elsewhere; give the address itself")
	}}
	return r, nil
}

// readToken never takes it from the command line, where every user of the machine reads it (W-09).
func (f *remoteFlags) readToken() (string, error) {
	token := os.Getenv("POSTERN_TOKEN")
	if f.TokenFile != "" {
		text, err := os.ReadFile(f.TokenFile)
		if err != nil {
			return "", err
		}
		token = string(text)
	}
	if token = strings.TrimSpace(token); token == "" || strings.ContainsAny(token, " \r\n\t") {
		return "", &usageError{"--server needs a token: in a file (--token-file FILE) or in POSTERN_TOKEN; postern user token add makes one"}
	}
	return token, nil
}

// call sends one request. body and into may be nil; into an io.Writer takes the answer as it is.
func (r *remote) call(method, path string, query url.Values, body, into any) error {
	ctx, cancel := context.WithTimeout(context.Background(), remoteWait)
	defer cancel()
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(text)
	}
	address := r.base + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, address, send)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+r.token)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode >= 300 {
		return refusal(resp)
	}
	switch to := into.(type) {
	case nil:
		return nil
	case io.Writer:
		_, err = io.Copy(to, resp.Body)
		return err
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 64<<20)).Decode(into)
}

// asked are the parameters of a list: those that have a value, how far back, and how many.
func asked(values map[string]string, since Duration, limit int) url.Values {
	q := url.Values{}
	for name, value := range values {
		if value != "" {
			q.Set(name, value)
		}
	}
	if since > 0 {
		q.Set("since", time.Now().Add(-time.Duration(since)).UTC().Format(time.RFC3339))
	}
	if limit > 0 {
		q.Set("limit", strconv.Itoa(limit))
	}
	return q
}

// refusal is why a call failed, in the words of the gateway.
func refusal(resp *http.Response) error {
	var p struct{ Title, Detail, Instance string }
	_ = json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(&p)
	switch {
	case resp.StatusCode == http.StatusUnauthorized:
		return errors.New("the gateway does not know the token, or it has expired: postern user token add makes another one")
	case p.Detail == "":
		return fmt.Errorf("the gateway answered %s: is that the address of its pages?", resp.Status)
	case resp.StatusCode >= 500 && p.Instance != "":
		return fmt.Errorf("the gateway says: %s (request %s)", p.Detail, p.Instance)
	}
	return fmt.Errorf("the gateway says: %s", p.Detail)
}
