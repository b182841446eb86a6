// Package sbc assembles the session border controller from its rooms: New makes it from a configuration, Run lets it
// work, Reload changes its configuration without dropping a call, Drain empties it.
//
// It is the only room that sees all rooms, and it decides nothing that one of them could: it turns the configuration into
// their values, joins their interfaces, and answers the administrator.
package sbc
