package main

import (
	"context"
	"fmt"
	"time"
)

// A measurement does all jobs over all transports and collects the figures.
type measurement struct {
	corpus  *corpus
	options options
	bar     *progress
	want    map[string]result // by task
	report  *report
}

// measure fails at the first job after which the two sides differ.
func measure(ctx context.Context, c *corpus, o options, bar *progress) (*report, error) {
	m := measurement{corpus: c, options: o, bar: bar, want: map[string]result{}}
	m.report = &report{from: c.from, figures: make([]figures, len(transports))}
	m.expect()
	// Turn by turn, so that a change of the machine's mood meets all alike.
	for begin := time.Now(); m.more(time.Since(begin)); m.report.passes++ {
		for _, task := range []string{taskHash, taskTouch} {
			for i := range transports {
				if err := m.stream(ctx, i, task); err != nil {
					return nil, err
				}
			}
		}
	}
	for i, t := range transports {
		if !t.pings() {
			continue
		}
		if err := m.ping(ctx, i); err != nil {
			return nil, err
		}
	}
	return m.report, nil
}

// expect works out what has to arrive.
func (m *measurement) expect() {
	m.bar.begin("working out what has to arrive", 2*m.corpus.size)
	begin := time.Now()
	m.want[taskHash] = m.corpus.expect(digests[taskHash](), m.bar)
	m.report.alone = time.Since(begin)
	m.want[taskTouch] = m.corpus.expect(digests[taskTouch](), m.bar)
	m.report.sent = m.want[taskHash]
}

func (m *measurement) more(elapsed time.Duration) bool {
	done := m.report.passes
	return done == 0 || done < m.options.passes && elapsed < streamBudget
}

func (m *measurement) stream(ctx context.Context, i int, task string) error {
	j := job{transports[i], task}
	m.bar.begin(fmt.Sprintf("%v, pass %d of %d", j, m.report.passes+1, m.options.passes), m.corpus.size)
	r, err := stream(ctx, j, m.corpus, m.bar)
	if err != nil {
		return err
	}
	if err := check(j, m.want[task], r.got); err != nil {
		return err
	}
	f := &m.report.figures[i]
	if task == taskTouch {
		f.touched = append(f.touched, r.took)
		return nil
	}
	f.hashed = append(f.hashed, r.took)
	if i == 0 {
		m.report.received, m.report.pid = r.got, r.pid
	}
	return nil
}

func (m *measurement) ping(ctx context.Context, i int) error {
	j := job{transports[i], taskPing}
	m.bar.begin(j.String(), int64(m.options.pings))
	r, err := pingPong(ctx, j, m.options.pings, m.bar)
	if err != nil {
		return err
	}
	m.report.figures[i].trips = r.trips
	return check(j, result{Records: uint64(len(r.trips))}, r.got)
}
