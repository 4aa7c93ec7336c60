package main

import (
	"fmt"
	"os"
)

// defaultFile is read when it exists and -c is not given.
const defaultFile = "/etc/postern/postern.yaml"

// settings are the flags that make a configuration file unnecessary; they win over it.
type settings struct {
	Config   string   `short:"c" help:"Configuration file (default: ${default_file} when it exists)." placeholder:"FILE" type:"path"`
	Domain   []string `help:"Domain that mail is taken for; .example.org adds its subdomains (repeatable)." placeholder:"DOMAIN" sep:"none"`
	Upstream []string `help:"Internal server, HOST:PORT (repeatable: tried in order)." placeholder:"HOST:PORT" sep:"none"`
	Data     string   `help:"Folder for held mail and the journal." placeholder:"DIR"`
	decisions
}

// decisions are the flags that try shares with serve.
type decisions struct {
	Clamd []string `help:"clamd, unix:PATH or tcp:HOST:PORT (repeatable: tried in order)." placeholder:"ADDRESS" sep:"none"`
	DNS   []string `name:"dns" help:"DNS server, ADDRESS or ADDRESS:PORT (repeatable; default: those of /etc/resolv.conf)." placeholder:"ADDRESS" sep:"none"`
	Rules string   `help:"Folder of rule files, in place of the built-in policy." placeholder:"DIR"`
}

// read gives the configuration with the flags over it, not yet validated.
func (s *settings) read() (*Config, error) {
	c := defaultConfig()
	file := s.Config
	if file == "" {
		if _, err := os.Stat(defaultFile); err == nil {
			file = defaultFile
		}
	}
	if file != "" {
		var err error
		if c, err = loadConfig(file); err != nil {
			return nil, err
		}
	}
	if len(s.Domain) > 0 {
		c.Domains = s.Domain
	}
	if len(s.Upstream) > 0 {
		c.Upstream.Servers = s.Upstream
	}
	if s.Data != "" {
		c.Data = s.Data
	}
	s.decisions.apply(c)
	return c, nil
}

func (d *decisions) apply(c *Config) {
	if len(d.Clamd) > 0 {
		c.ClamAV.Addresses = d.Clamd
	}
	if len(d.DNS) > 0 {
		c.DNS.Servers = d.DNS
	}
	if d.Rules != "" {
		c.Rules = d.Rules
	}
}

// load gives a valid configuration, or all that is wrong with it.
func (s *settings) load() (*Config, error) {
	c, err := s.read()
	if err != nil {
		return nil, err
	}
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("the configuration does not hold:\n%w", err)
	}
	return c, nil
}
