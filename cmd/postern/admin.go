package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"postern/filters"
	"postern/journal"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics are what Prometheus reads; messages come from the journal's entries alone.
type metrics struct {
	registry *prometheus.Registry
	messages *prometheus.CounterVec
	rules    *prometheus.CounterVec
	filters  *prometheus.HistogramVec
	took     prometheus.Histogram
	bytes    prometheus.Counter
	reloads  *prometheus.CounterVec
	open     *prometheus.GaugeVec
	alarms   *prometheus.CounterVec
	digests  *prometheus.CounterVec
	answers  *prometheus.CounterVec
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		messages: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_messages_total", Help: "Transactions by their end: delivered held mixed refused deferred discarded command abandoned."}, []string{"result"}),
		rules:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_verdicts_total", Help: "Recipients' copies by deciding rule and what was done."}, []string{"rule", "do"}),
		filters:  prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "postern_filter_seconds", Help: "Time that a filter took.", Buckets: []float64{.0005, .002, .01, .05, .2, 1, 5, 20}}, []string{"filter", "state"}),
		took:     prometheus.NewHistogram(prometheus.HistogramOpts{Name: "postern_transaction_seconds", Help: "Time from MAIL to the final reply.", Buckets: []float64{.001, .005, .02, .1, .5, 2, 10, 60, 240}}),
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "postern_received_bytes_total", Help: "Bytes of messages received."}),
		reloads:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_reloads_total", Help: "Reloads of the rules by outcome."}, []string{"outcome"}),
		open:     prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "postern_breaker_open", Help: "1 for each rule whose breaker is open."}, []string{"rule"}),
		alarms:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_breaker_alarms_total", Help: "How often a rule suddenly decided far more than it used to."}, []string{"rule"}),
		digests:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_digests_total", Help: "Mails to users about held mail: sent deferred failed."}, []string{"result"}),
		answers:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "postern_digest_answers_total", Help: "Answers to digests by what became of them: done already refused failed unclear ignored."}, []string{"result"}),
	}
	m.registry.MustRegister(m.messages, m.rules, m.filters, m.took, m.bytes, m.reloads, m.open, m.alarms, m.digests, m.answers,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// sink counts journal entries.
func (m *metrics) sink() journal.Sink {
	return func(e *journal.Entry) {
		m.messages.WithLabelValues(e.Result).Inc()
		m.bytes.Add(float64(e.Size))
		m.took.Observe(e.Took.Seconds())
		for _, o := range e.Outcomes {
			m.rules.WithLabelValues(o.Rule, o.Do).Inc()
		}
		for _, f := range e.Filters {
			if f.State != journal.NotNeeded {
				m.filters.WithLabelValues(f.Name, f.State).Observe(f.Took.Seconds())
			}
		}
	}
}

// digest counts digests, and answers to them.
func (m *metrics) digest(what, result string) {
	if what == "reply" {
		m.answers.WithLabelValues(result).Inc()
		return
	}
	m.digests.WithLabelValues(result).Inc()
}

// observe adds what is read when Prometheus asks.
func (p *program) observe() {
	gauge := func(name, help string, value func() float64) {
		p.metrics.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value))
	}
	gauge("postern_sessions", "Open SMTP connections.", func() float64 { return float64(p.gateway.Sessions()) })
	count := func(name, help string, value func() int64) {
		p.metrics.registry.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) }))
	}
	count("postern_turned_away_total", "Connections over a limit, answered 421.", p.gateway.TurnedAway)
	count("postern_journal_lost_total", "Journal entries that could not be written.", p.journal.Lost)
	gauge("postern_spool_bytes", "Bytes of messages under way that are held in memory.", func() float64 { return float64(p.spool.InMemory()) })
	gauge("postern_journal_waiting", "Journal entries that are not written yet.", func() float64 { return float64(p.journal.Waiting()) })
	gauge("postern_quarantine_max_bytes", "What it may take; 0 is no cap.", func() float64 { return float64(p.cfg.Quarantine.MaxSize) })
	gauge("postern_quarantine_bytes", "Bytes of held mail on disk.", func() float64 {
		u, err := p.quarantine.Usage(context.Background())
		if err != nil {
			return -1
		}
		return float64(u.Bytes)
	})
	if p.certs != nil {
		gauge("postern_certificate_expires_seconds", "End of the certificate for STARTTLS, in seconds since 1970.", func() float64 { return float64(p.certs.expires().Unix()) })
	}
	gauge("postern_healthy", "1 when /health says ok.", func() float64 {
		if _, problems := p.health(); problems {
			return 0
		}
		return 1
	})
}

// A neighbour is what Postern depends on, and what is wrong with it.
type neighbour struct {
	name string
	err  error
}

// neighbours asks each how it is.
func (p *program) neighbours() []neighbour {
	list := []neighbour{
		{"store", errors.Join(p.db.Err(), p.quarantine.Err(), p.journal.Err(), p.lists.Err(), p.gateway.Healthy())},
		{"upstream", p.upstream.Health()},
		{"dns", nil}}
	if p.resolver.Degraded() {
		list[2].err = errors.New("no answers")
	}
	if p.certs != nil {
		list = append(list, neighbour{"certificate", p.certs.err()})
	}
	if len(p.cfg.ClamAV.Addresses) > 0 {
		list = append(list, neighbour{"clamav", p.scanner()})
	}
	p.policy.mu.Lock()
	defer p.policy.mu.Unlock()
	return append(list, neighbour{"rules", p.policy.error})
}

// health tells the state of each neighbour in words without data; degraded is whether anything
// is wrong. Filters that are off on purpose are told, but are no fault.
func (p *program) health() (state map[string]any, degraded bool) {
	state = map[string]any{}
	say := func(name string, err error) {
		state[name] = "ok"
		if err != nil {
			state[name], degraded = "failed", true
		}
	}
	for _, n := range p.neighbours() {
		say(n.name, n.err)
	}
	p.policy.mu.Lock()
	if len(p.policy.off) > 0 {
		state["off"] = p.policy.off
	}
	p.policy.mu.Unlock()
	if p.breaker != nil {
		open, alarms := p.breaker.Open()
		if len(open) > 0 {
			say("breaker", fmt.Errorf("open: %v", open))
			state["breakers"] = open
		}
		if len(alarms) > 0 {
			state["alarms"] = alarms
		}
	}
	state["status"] = "ok"
	if degraded {
		state["status"] = "degraded"
	}
	return state, degraded
}

// scanner asks whether a clamd answers.
func (p *program) scanner() error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_, err := filters.ClamAVConfig{Addresses: p.cfg.ClamAV.Addresses}.Version(ctx)
	return err
}

// An adminServer serves health and metrics; nil when there is none.
type adminServer struct {
	server *http.Server
	addr   string
	done   chan struct{}
}

// startAdmin listens on the admin address.
func (p *program) startAdmin() (*adminServer, error) {
	if p.cfg.Admin == "" {
		return nil, nil
	}
	l, err := p.sockets.one("admin", p.cfg.Admin, p.log)
	if err != nil {
		return nil, fmt.Errorf("health and metrics: %w (another address: admin or --admin; \"\" for none)", err)
	}
	if a, ok := l.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() {
		p.log.Warn("health and metrics are not on the loopback address: everybody who reaches it can read them", "admin", l.Addr().String())
	}
	p.observe()
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		state, degraded := p.health()
		w.Header().Set("Content-Type", "application/json")
		if degraded {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		_ = json.NewEncoder(w).Encode(state)
	})
	a := &adminServer{addr: l.Addr().String(), done: make(chan struct{}),
		server: &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second, WriteTimeout: 30 * time.Second, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}}
	go func() {
		defer close(a.done)
		if err := a.server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			p.log.Error("admin", "error", err)
		}
	}()
	p.log.Info("health and metrics", "admin", a.addr)
	return a, nil
}

func (a *adminServer) close() {
	if a != nil {
		_ = a.server.Close()
		<-a.done
	}
}
