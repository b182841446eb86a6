package transport

import (
	"crypto/tls"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sallyport/nat"
	"sallyport/nat/natlab/authority"
	"sallyport/policy"
)

// TestClassesAreKeptApart: connections of two classes to one address are two. Each proves its own name and is shown its own
// certificate, what fails in one class is told of that class alone, and a message says by which of them it has come.
func TestClassesAreKeptApart(t *testing.T) {
	ca, a, b := authority.New("ca"), authority.New("a"), authority.New("b")
	set, _ := loadTLS(t, ca, "")
	forA, forB := a.Issue("customer-a"), b.Issue("customer-b")
	of := map[uint32]*Identity{
		1: {Names: []string{"a.example"}, Roots: a.Pool(), Certificate: &forA, Peer: &policy.Peer{Kind: policy.Trunk, Name: "a"}},
		2: {Names: []string{"b.example"}, Roots: b.Pool(), Certificate: &forB},
	}
	var judged []string
	tlsYard(t, set, func(conf *Config) {
		conf.Identity = func(to nat.Flow) *Identity { return of[to.Class] }
		conf.Guard = guardFunc(func(p *policy.Packet) policy.Verdict {
			name := "-"
			if p.Peer != nil {
				name = p.Peer.Name
			}
			judged = append(judged, name)
			return stranger(p)
		})
	}, func(y *yard) {
		toA, toB := pbx, pbx
		toA.Transport, toA.Class = nat.TLS, 1
		toB.Transport, toB.Class = nat.TLS, 2
		answer := func(shows tls.Certificate, asks *authority.Authority) *peer {
			return newPeer(t, tls.Server(y.last().Conn, &tls.Config{
				Certificates: []tls.Certificate{shows}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: asks.Pool(),
			}), true)
		}
		y.must(toA, "for a")
		one := answer(a.Issue("a.example"), a)
		y.must(toB, "for b")
		wrong := answer(b.Issue("a.example"), b)
		time.Sleep(11 * time.Second)
		if got := y.in.unreachable(); y.calls() != 2 || one.text() != "for a" || wrong.text() != "" || len(got) != 1 || got[0] != toB {
			t.Fatalf("%d dialled, unreachable %+v", y.calls(), got)
		}
		if y.set.Trouble(toA) != "" || !strings.Contains(y.set.Trouble(toB), "for a.example, and not for b.example") {
			t.Errorf("troubles %q and %q", y.set.Trouble(toA), y.set.Trouble(toB))
		}

		y.must(toB, "for b")
		two := answer(b.Issue("b.example"), b)
		y.must(toA, "for a again")
		y.must(toB, " again")
		synctest.Wait()
		if one.text() != "for a again" || two.text() != "for b again" || y.calls() != 3 || y.set.Streams().Dialled.Now != 2 {
			t.Errorf("%d dialled, %+v", y.calls(), y.set.Streams())
		}
		for class, p := range map[uint32]*peer{1: one, 2: two} {
			p.send(request("OPTIONS", "x"))
			f := y.flow()
			if f.Class != class || f.Conn == 0 || f.Remote != pbx.Remote || (y.set.Peer(f) == "a") != (class == 1) {
				t.Errorf("class %d: flow %+v of %q", class, f, y.set.Peer(f))
			}
			y.must(f, "answer")
			if p.text() != "answer" {
				t.Errorf("class %d: no answer", class)
			}
			f.Class = 3 - class
			if y.set.Send(f, []byte("x")) == nil || y.set.Peer(f) != "" {
				t.Errorf("class %d: the other class names its connection", class)
			}
		}
		if got := strings.Join(judged, " "); got != "a -" && got != "- a" {
			t.Errorf("the guard is told of %s", got)
		}
		_ = one.Close()
		synctest.Wait()
		if got := y.in.closed(); len(got) != 1 || got[0].Class != 1 {
			t.Errorf("closed %+v", got)
		}
	})
}
