package sdp

import (
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const (
	key30 = "WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz" // RFC 4568 §9.1
	key46 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8gISIjJCUmJygpKissLQ=="
)

func withCrypto(lines ...string) *Session {
	s, err := Parse([]byte("v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=audio 4000 RTP/SAVP 0 8\r\n" +
		strings.Join(lines, "\r\n") + "\r\na=sendrecv\r\n"))
	if err != nil {
		panic(err)
	}
	return s
}

func TestCryptoLines(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30, "1 AES_CM_128_HMAC_SHA1_80"},
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|2^20", "1 AES_CM_128_HMAC_SHA1_80"},
		{"999999999 AES_CM_128_HMAC_SHA1_32 INLINE:" + key30 + "|1048576 WSH=128 KDR=0 -future", "999999999 AES_CM_128_HMAC_SHA1_32"},
		{"2 AES_256_CM_HMAC_SHA1_80 inline:" + key46, "2 AES_256_CM_HMAC_SHA1_80"},
		{"2 AES_256_CM_HMAC_SHA1_80 inline:" + strings.TrimRight(key46, "="), "2 AES_256_CM_HMAC_SHA1_80"},
		// What cannot be acted upon.
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|2^20|1:4", ""},             // a key identifier in every packet
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|1:4", ""},                  // without lifetime
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + ";inline:" + key30, ""},      // several keys
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|soon", ""},                 // no lifetime
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|2^", ""},                   //
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " UNENCRYPTED_SRTP", ""},     //
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " UNENCRYPTED_SRTCP", ""},    //
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " UNAUTHENTICATED_SRTP", ""}, //
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " KDR=1", ""},                // keys that change underway
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + " FEC_ORDER=FEC_SRTP", ""},   //
		{"1 F8_128_HMAC_SHA1_80 inline:" + key30, ""},                               // RFC 3711 §4.1.2 has no implementation
		{"1 aes_cm_128_hmac_sha1_80 inline:" + key30, ""},                           // names are case-sensitive
		{"1 AES_256_CM_HMAC_SHA1_80 inline:" + key30, ""},                           // another suite's key
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30[:39], ""},                      //
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "====", ""},                  //
		{"1 AES_CM_128_HMAC_SHA1_80 inline:" + key30[:39] + "*", ""},                //
		{"1 AES_CM_128_HMAC_SHA1_80 uri:" + key30, ""},                              //
		{"1 AES_CM_128_HMAC_SHA1_80", ""},
		{"0 AES_CM_128_HMAC_SHA1_80 inline:" + key30, ""},
		{"01 AES_CM_128_HMAC_SHA1_80 inline:" + key30, ""},
		{"+1 AES_CM_128_HMAC_SHA1_80 inline:" + key30, ""},
		{"1000000000 AES_CM_128_HMAC_SHA1_80 inline:" + key30, ""},
		{"", ""},
	} {
		got := fmt.Sprint(withCrypto("a=crypto:" + c.line).Cryptos(0))
		if got != "["+c.want+"]" {
			t.Errorf("%s: %s", c.line, got)
		}
	}
	// The first of a tag counts, whether or not it can be used.
	s := withCrypto("a=crypto:1 F8_128_HMAC_SHA1_80 inline:"+key30, "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+key30,
		"a=CRYPTO:2 AES_CM_128_HMAC_SHA1_32 inline:"+key30, "a=crypto:3 AES_CM_128_HMAC_SHA1_80 inline:"+key30)
	if got := fmt.Sprint(s.Cryptos(0)); got != "[2 AES_CM_128_HMAC_SHA1_32 3 AES_CM_128_HMAC_SHA1_80]" {
		t.Error(got)
	}
	if key := s.Cryptos(0)[0].Key; hex.EncodeToString(key) != "59535f5f5f73656d63746c202829207b093232303b7d0a7d0a756e6c6573" {
		t.Errorf("%x", key)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %s", s.Cryptos(0), s.Cryptos(0)[0], s.Cryptos(0)[0]), "89 83") {
		t.Error("a key is printed")
	}
}

// What is written is read back, whatever stood there before, and nothing else has changed.
func TestCryptoIsReplaced(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := []string{"AES_CM_128_HMAC_SHA1_80", "AES_CM_128_HMAC_SHA1_32", "AES_256_CM_HMAC_SHA1_80", "AEAD_AES_128_GCM", "AEAD_AES_256_GCM"}
		name := rapid.SampledFrom(names).Draw(t, "suite")
		key := rapid.SliceOfN(rapid.Byte(), KeyLen(name), KeyLen(name)).Draw(t, "key")
		theirs := "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + key30
		s := withCrypto(theirs, "a=ptime:20", "a=acap:1 crypto:1 AES_CM_128_HMAC_SHA1_80 inline:"+key30, "a=tcap:1 RTP/SAVP", "a=key-mgmt:mikey "+key30)
		s.DropCrypto()
		proto := ProfileName(rapid.Bool().Draw(t, "secure"), rapid.Bool().Draw(t, "feedback"))
		s.SetProtocol(0, proto)
		s.AddCrypto(0, Crypto{Tag: 7, Suite: name, Key: key})
		want := "m=audio 4000 " + proto + " 0 8\r\na=crypto:7 " + name + " inline:" + base64.StdEncoding.EncodeToString(key) + "\r\na=ptime:20\r\na=sendrecv\r\n"
		if out := string(s.Bytes()); !strings.HasSuffix(out, want) || strings.Contains(out, key30) {
			t.Fatalf("%s", out)
		}
		again, err := Parse(s.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		if got := again.Cryptos(0); len(got) != 1 || string(got[0].Key) != string(key) || got[0].Tag != 7 || got[0].Suite != name {
			t.Fatalf("%v", got)
		}
		again.DropCrypto()
		if out := string(again.Bytes()); strings.Contains(out, "crypto") || again.At(0).Proto != proto {
			t.Fatal(out)
		}
	})
}

func TestProfiles(t *testing.T) {
	for proto, want := range map[string]string{
		"RTP/AVP": "false false true", "RTP/SAVP": "true false true", "rtp/savpf": "true true true", "RTP/AVPF": "false true true",
		"UDP/TLS/RTP/SAVPF": "true true true", "udp/tls/rtp/savp": "true false true", "UDP/TLS/RTP/AVP": "false false false", "udptl": "false false false", "TCP/RTP/AVP": "false false false",
	} {
		secure, feedback, ok := (&Media{Proto: proto}).Profile()
		if got := fmt.Sprint(secure, feedback, ok); got != want {
			t.Errorf("%s: %s", proto, got)
		}
		if ok && !strings.EqualFold(ProfileName(secure, feedback), proto) && !strings.EqualFold(HandshakeName(feedback), proto) {
			t.Errorf("%s: %s", proto, ProfileName(secure, feedback))
		}
	}
	s := withCrypto("a=fingerprint:sha-256 AB:CD")
	if !s.Fingerprinted(0) || withCrypto("a=ptime:20").Fingerprinted(0) {
		t.Error("fingerprint")
	}
	for _, m := range []string{"m=audio 4000  RTP/SAVP  0", "m=RTP/SAVP 4000 RTP/SAVP RTP/SAVP", "m=audio 4000 RTP/SAVP"} {
		s, err := Parse([]byte("v=0\r\n" + m))
		if err != nil {
			t.Fatal(err)
		}
		s.SetProtocol(0, "RTP/AVP")
		if at := s.At(0); at.Proto != "RTP/AVP" || at.Port != 4000 {
			t.Errorf("%q became %q", m, s.Bytes())
		}
	}
}

// Rejected streams show no keys, nor do bodies that are no offer.
func TestRejectedStreamsShowNoKeys(t *testing.T) {
	s := withCrypto("a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:" + key30)
	if s.Reject(0); strings.Contains(string(s.Bytes()), "inline") {
		t.Errorf("%s", s.Bytes())
	}
}

func FuzzCrypto(f *testing.F) {
	f.Add("1 AES_CM_128_HMAC_SHA1_80 inline:" + key30 + "|2^20|1:4")
	f.Add("2 AES_256_CM_HMAC_SHA1_80 inline:" + key46 + " KDR=0")
	f.Fuzz(func(t *testing.T, line string) {
		s, err := Parse([]byte("v=0\r\nm=audio 1 RTP/SAVP 0\r\na=crypto:" + line))
		if err != nil {
			return
		}
		for _, c := range s.Cryptos(0) {
			if c.Tag < 1 || c.Tag > 999999999 || len(c.Key) != KeyLen(c.Suite) || len(c.Key) == 0 {
				t.Fatalf("%q: %v, key of %d", line, c, len(c.Key))
			}
		}
		s.DropCrypto()
		if strings.Contains(string(s.Bytes()), "a=crypto:") {
			t.Fatalf("stays: %q", s.Bytes())
		}
	})
}
