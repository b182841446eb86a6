package resolve

import (
	"context"

	"github.com/miekg/dns"
)

// parrot answers every question with the same bytes, under the name that was asked for.
type parrot []byte

func (p parrot) Exchange(_ context.Context, q *dns.Msg) (*dns.Msg, error) {
	m := new(dns.Msg)
	if err := m.Unpack(p); err != nil {
		return nil, err
	}
	m.Id, m.Question = q.Id, q.Question
	return m, nil
}
