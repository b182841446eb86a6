package tu

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"sallyport/sbc/message"
)

func TestAccountIsNotPrinted(t *testing.T) {
	a := &Account{Username: "alice", Password: "wonderland", Realms: []string{"itsp"}}
	written, err := json.Marshal(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		fmt.Sprint(a), fmt.Sprintf("%+v", a), fmt.Sprintf("%#v", a), fmt.Sprintf("%v", &Peer{Account: a}), string(written),
		fmt.Sprint(*a), fmt.Sprintf("%+v", *a), fmt.Sprintf("%#v", *a), fmt.Sprintf("%+v", struct{ A Account }{*a}),
	} {
		if strings.Contains(text, "wonderland") {
			t.Error(text)
		}
	}
	var none *Account
	if none.Answers("itsp") || a.Answers("evil") || a.Answers("") || !a.Answers("itsp") {
		t.Error("whose challenges are answered")
	}
}

func TestPreload(t *testing.T) {
	m := &message.Message{Headers: []message.Header{{Name: "Subject", Value: "x"}}}
	(&Peer{Routes: []string{"<sip:a;lr>", "<sip:b;lr>"}}).Preload(m)
	(&Peer{}).Preload(m)
	if fmt.Sprint(m.Headers) != "[{Subject x} {Route <sip:a;lr>} {Route <sip:b;lr>}]" {
		t.Errorf("%v", m.Headers)
	}
}
