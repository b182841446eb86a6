package route

// callingCodes are the country codes of ITU-T E.164 (list of assigned codes, annex to the ITU Operational Bulletin): geographic
// areas, global services and networks. None begins with another one.
var callingCodes = newTrie(
	"1", "7", "20", "211", "212", "213", "216", "218",
	"220", "221", "222", "223", "224", "225", "226", "227", "228", "229",
	"230", "231", "232", "233", "234", "235", "236", "237", "238", "239",
	"240", "241", "242", "243", "244", "245", "246", "247", "248", "249",
	"250", "251", "252", "253", "254", "255", "256", "257", "258",
	"260", "261", "262", "263", "264", "265", "266", "267", "268", "269",
	"27", "290", "291", "297", "298", "299",
	"30", "31", "32", "33", "34", "350", "351", "352", "353", "354", "355", "356", "357", "358", "359",
	"36", "370", "371", "372", "373", "374", "375", "376", "377", "378", "379",
	"380", "381", "382", "383", "385", "386", "387", "389", "39",
	"40", "41", "420", "421", "423", "43", "44", "45", "46", "47", "48", "49",
	"500", "501", "502", "503", "504", "505", "506", "507", "508", "509",
	"51", "52", "53", "54", "55", "56", "57", "58",
	"590", "591", "592", "593", "594", "595", "596", "597", "598", "599",
	"60", "61", "62", "63", "64", "65", "66",
	"670", "672", "673", "674", "675", "676", "677", "678", "679",
	"680", "681", "682", "683", "685", "686", "687", "688", "689", "690", "691", "692",
	"800", "808", "81", "82", "84", "850", "852", "853", "855", "856", "86", "870", "878",
	"880", "881", "882", "883", "886", "888",
	"90", "91", "92", "93", "94", "95",
	"960", "961", "962", "963", "964", "965", "966", "967", "968",
	"970", "971", "972", "973", "974", "975", "976", "977", "979", "98",
	"992", "993", "994", "995", "996", "998",
)

// trie finds which of some digit strings a number begins with. Nodes refer to each other by index; 0 is the root, and no
// child is the root.
type trie struct {
	nodes [][10]uint16
	ends  []bool
}

func newTrie(words ...string) *trie {
	t := &trie{nodes: make([][10]uint16, 1), ends: make([]bool, 1)}
	for _, w := range words {
		at := uint16(0)
		for i := range len(w) {
			d := w[i] - '0'
			if t.nodes[at][d] == 0 {
				t.nodes, t.ends = append(t.nodes, [10]uint16{}), append(t.ends, false)
				t.nodes[at][d] = uint16(len(t.nodes) - 1)
			}
			at = t.nodes[at][d]
		}
		t.ends[at] = true
	}
	return t
}

// prefix is how long the word is that a number begins with; 0: none does.
func (t *trie) prefix(number string) int {
	at := uint16(0)
	for i := range len(number) {
		c := number[i]
		if c < '0' || c > '9' {
			return 0
		}
		if at = t.nodes[at][c-'0']; at == 0 {
			return 0
		}
		if t.ends[at] {
			return i + 1
		}
	}
	return 0
}

// CallingCode is the calling code that an international number, without its "+", begins with; empty: none.
func CallingCode(number string) string { return number[:callingCodes.prefix(number)] }
