package registrar

// Found notes of the binding with a token what something on the way edits, as another message than a REGISTER shows it: a
// call's description, an answer.
func (b *Book) Found(token string, alg []string) {
	e := b.tokens[token]
	if e == nil {
		return
	}
	if all := union(e.b.ALG, alg); len(all) > len(e.b.ALG) {
		edited := *e.b
		edited.ALG = all
		b.swap(e, &edited)
	}
}
