package metrics

// The program and its core.
var (
	Build    = gauge("sbc_build_info", "What runs: its version, and that of the Go toolchain. Always 1.", "version", "goversion")
	CoreUp   = gauge("sbc_core_up", "1 if the core answered this scrape within a second. If not, the figures that only it knows are missing.")
	CoreBusy = gauge("sbc_core_busy_ratio", "Part of the last second that the core has worked. Above 0.8 new calls are refused.")
	Draining = gauge("sbc_draining", "1 while no new calls are taken.")

	CoreInboxHighest = gauge("sbc_core_inbox_messages_highest", "Most messages that have waited for the core at a time.")
	InboxDropped     = counter("sbc_core_inbox_dropped_messages_total", "Messages that found the core's inbox full.")
	Overload         = counter("sbc_core_overload_refusals_total", "New calls that were refused because the core was too busy.")
	Refused          = counter("sbc_requests_refused_total", "Requests that the guard has let pass and that were refused all the same, by reason.", "reason")
	Panics           = counter("sbc_panics_total", "Internal errors, each a fault of the program that cost one call or message at most.", "place")
	Leaks            = counter("sbc_leaks_total", "What the leak guard has found of one side in messages for the other: repaired, or the message refused.", "outcome")
	Retained         = gauge("sbc_transactions_retained_bytes", "Bytes of messages that are kept to be sent again.")
	Transactions     = gauge("sbc_transactions", "SIP transactions in progress.", "role")
	Dialogs          = gauge("sbc_dialogs", "SIP dialogs, both legs of calls and subscriptions.")
	Subscriptions    = gauge("sbc_subscriptions", "Subscriptions of phones that the program relays.")
	TableLevel       = gauge("sbc_table_level", "How full a bounded table is.", "table")
	TableHighest     = gauge("sbc_table_highest", "The most that a bounded table has held.", "table")
	TableLimit       = gauge("sbc_table_limit", "What a bounded table can hold.", "table")
)

// Calls. Those by record count when a call has ended.
var (
	Calls        = gauge("sbc_calls", "Calls in progress.")
	CallsHighest = gauge("sbc_calls_highest", "Most calls at a time since the start.")
	CallsLimit   = gauge("sbc_calls_limit", "limits.calls of the configuration; 0: bounded by media ports alone.")
	CallsStarted = counter("sbc_calls_started_total", "Calls that have begun.")
	CallsEnded   = counter("sbc_calls_ended_total",
		"Calls that have ended: answered; busy (486, 600, 603), cancelled (487), unanswered (408, 480), failed (5xx), rejected (all other codes).",
		"direction", "result", "ended_by")
	CallReasons  = counter("sbc_call_reasons_total", "Calls that have ended otherwise than by who takes part in them, by reason.", "reason")
	CallSetup    = histogram("sbc_call_setup_duration_seconds", "From the INVITE to the answer, of answered calls.", "direction")
	PostDial     = histogram("sbc_call_post_dial_delay_seconds", "From the INVITE to the first ringing, or to the answer if nothing rang.", "direction")
	CallDuration = histogram("sbc_call_duration_seconds", "From the answer to the end, of answered calls.", "direction")
)

// Trunks.
var (
	TrunkState     = gauge("sbc_trunk_state", "1 for the state that a trunk is in, 0 for the others.", "trunk", "state")
	TrunkAddresses = gauge("sbc_trunk_addresses", "Addresses of a trunk, by their state.", "trunk", "state")
	TrunkCalls     = gauge("sbc_trunk_calls", "Calls that a trunk carries.", "trunk")
	TrunkHighest   = gauge("sbc_trunk_calls_highest", "Most calls that a trunk has carried at a time.", "trunk")
	TrunkLimit     = gauge("sbc_trunk_calls_limit", "capacity.calls of a trunk; 0: no bound.", "trunk")
	TrunkAttempts  = counter("sbc_trunk_attempts_total", "INVITEs for a trunk, by the class of their final answer; none: nobody waited for it; full: there was no place, and none was sent.", "trunk", "class")
	TrunkEnded     = counter("sbc_trunk_calls_ended_total", "Calls of a trunk that have ended, as in sbc_calls_ended_total.", "trunk", "direction", "result")
	TrunkLatency   = gauge("sbc_trunk_latency_seconds", "How soon the nearest address of a trunk has answered the last OPTIONS.", "trunk")
	TrunkRegister  = gauge("sbc_trunk_registration_state", "1 for the state of our registration at a trunk, 0 for the others.", "trunk", "state")
	TrunkRegUntil  = gauge("sbc_trunk_registration_expiry_timestamp_seconds", "When our registration at a trunk ends, unless it is refreshed.", "trunk")
)

// Groups of trunks.
var (
	GroupCalls   = gauge("sbc_trunk_group_calls", "Calls that a group of trunks carries.", "group")
	GroupHighest = gauge("sbc_trunk_group_calls_highest", "Most calls that a group of trunks has carried at a time.", "group")
	GroupLimit   = gauge("sbc_trunk_group_calls_limit", "capacity.calls of a group of trunks; 0: no bound.", "group")
)

// PBX nodes.
var (
	NodeState    = gauge("sbc_node_state", "1 for the state that a PBX node is in, 0 for the others.", "node", "state")
	NodeCalls    = gauge("sbc_node_calls", "Calls that a PBX node carries.", "node")
	NodeHighest  = gauge("sbc_node_calls_highest", "Most calls that a PBX node has carried at a time.", "node")
	NodeLimit    = gauge("sbc_node_calls_limit", "capacity.calls of a PBX node; 0: no bound.", "node")
	NodeAttempts = counter("sbc_node_attempts_total", "INVITEs for a PBX node, likewise.", "node", "class")
	NodeLatency  = gauge("sbc_node_latency_seconds", "How soon a PBX node has answered the last OPTIONS.", "node")
	NodeBindings = gauge("sbc_node_registrations", "Registrations of phones that a PBX node holds.", "node")
)

// Phones.
var (
	Registrations        = gauge("sbc_registrations", "Registrations of phones (bindings of contacts).")
	RegistrationsHighest = gauge("sbc_registrations_highest", "Most registrations at a time since the start.")
	RegistrationsLost    = gauge("sbc_registrations_connection_lost", "Registrations whose connection is gone: calls to them are refused.")
	Registers            = counter("sbc_register_requests_total", "REGISTERs of phones, by who has answered: here (phones.registration.inside), or passed to the PBX.", "outcome")
)

// The guard.
var (
	Verdicts   = counter("sbc_guard_verdicts_total", "What the guard has decided of messages before they were parsed.", "side", "realm", "action", "reason")
	Ignored    = counter("sbc_guard_ignored_total", "Keep-alives, STUN and junk, which harm nobody.", "side", "realm")
	Shed       = counter("sbc_guard_shed_total", "Datagrams of a flood that were dropped unread.")
	RuleHits   = counter("sbc_policy_rule_hits_total", "Messages that a rule has decided, or would have (shadow).", "rule", "name", "mode")
	Bans       = gauge("sbc_bans", "Bans in force.")
	BanActions = counter("sbc_ban_actions_total",
		"What has come of evidence: banned, shadowed (would have been), blocked (one port), slowed (one user), alarm (a peer that is never banned), refused (no room).", "action")
)

// Media. Packets are those of calls that have ended.
var (
	MediaUp        = gauge("sbc_media_up", "1 if something carries media: the media process is connected, or the program does it itself.")
	MediaInfo      = gauge("sbc_media_info", "What carries media. Always 1.", "backend")
	MediaPorts     = gauge("sbc_media_port_pairs", "Pairs of media ports, both sides together: reserved, free, resting (free, and not long ago in use).", "state")
	MediaHighest   = gauge("sbc_media_port_pairs_highest", "Most pairs of media ports reserved at a time.")
	MediaMissing   = gauge("sbc_media_ports_missing", "Ports of media.ports that other programs hold.")
	MediaOrphans   = gauge("sbc_media_orphaned_streams", "Streams of calls whose signalling a crash has ended.")
	MediaLosses    = counter("sbc_media_engine_losses_total", "How often the media process was lost and came back.")
	MediaRejected  = counter("sbc_media_rejected_packets_total", "Media packets that were not relayed, by reason.", "reason")
	MediaPackets   = counter("sbc_media_packets_total", "RTP packets of calls that have ended: received from a side, or sent to it.", "side", "direction")
	MediaLost      = counter("sbc_media_lost_packets_total", "RTP packets of calls that have ended, missing from what a side sent.", "side")
	MediaMOS       = histogram("sbc_media_mos", "Mean opinion score by the E-model of each voice stream: in, as it came from a side; out, as that side hears it.", "side", "direction")
	MediaLoss      = histogram("sbc_media_loss_ratio", "Lost part of the packets of each stream that a side has sent.", "side")
	MediaJitter    = histogram("sbc_media_jitter_seconds", "Interarrival jitter (RFC 3550) of each stream that a side has sent.", "side")
	MediaDelay     = gauge("sbc_media_relay_delay_seconds", "How long the relay has kept packets in the last minute: median, p99, highest.", "statistic")
	MediaDelayMeas = gauge("sbc_media_relay_delay_samples", "Packets that sbc_media_relay_delay_seconds was measured with.")
)

// Sockets.
var (
	SocketReceived = counter("sbc_socket_received_messages_total", "Messages that a listener has received, by what became of them.", "side", "realm", "transport", "address", "outcome")
	SocketBytesIn  = counter("sbc_socket_received_bytes_total", "Bytes that a listener has received.", "side", "realm", "transport", "address")
	SocketSent     = counter("sbc_socket_sent_messages_total", "Messages that a listener has sent.", "side", "realm", "transport", "address")
	SocketBytesOut = counter("sbc_socket_sent_bytes_total", "Bytes that a listener has sent.", "side", "realm", "transport", "address")
	SocketUnsent   = counter("sbc_socket_unsent_messages_total", "Messages that could not be sent: the buffer was full, or the kernel refused them.", "side", "realm", "transport", "address", "cause")
	SocketDropped  = counter("sbc_socket_kernel_dropped_messages_total", "Datagrams that the kernel has dropped because the receive buffer was full.", "side", "realm", "transport", "address")
	SocketErrors   = counter("sbc_socket_errors_total", "Errors of a listener: ICMP errors that came back, errors of reading.", "side", "realm", "transport", "address", "kind")
	Connections    = counter("sbc_stream_connections_total", "Connections (TCP, TLS, WebSocket): accepted, refused for want of room, dialled, dial-failed.", "side", "realm", "transport", "address", "event")
	ConnectionEnds = counter("sbc_stream_closed_total", "Connections that have ended, by cause.", "side", "realm", "transport", "address", "cause")
	Handshakes     = counter("sbc_tls_handshake_failures_total", "TLS handshakes and WebSocket upgrades that have failed.", "side", "realm", "transport", "address")
	CertificateEnd = gauge("sbc_tls_certificate_expiry_timestamp_seconds", "When a certificate of the configuration ends: outside, or that of a trunk.", "certificate")
)

// What the program keeps and reads.
var (
	DNSNames     = gauge("sbc_dns_names", "Names of the configuration that are looked up, by what is known of them: resolved, stale (the last answer is used), unresolved.", "state")
	DataEntries  = gauge("sbc_data_entries", "Entries of a list or database that rules work with.", "kind", "name")
	DataFailing  = gauge("sbc_data_failing", "1 if a list or database could not be read the last time.", "kind", "name")
	DataFetched  = gauge("sbc_data_fetched_timestamp_seconds", "When a list or database was read last.", "kind", "name")
	ReloadOK     = gauge("sbc_config_last_reload_successful", "1 if the last attempt to reload put its configuration in force.")
	ReloadAt     = gauge("sbc_config_last_reload_success_timestamp_seconds", "When the configuration in force was put in force.")
	Reloads      = counter("sbc_config_reloads_total", "Attempts to reload the configuration.", "result")
	CDRWritten   = counter("sbc_cdr_records_written_total", "Call records in files.")
	CDRLost      = counter("sbc_cdr_records_lost_total", "Call records that found no room in memory while the disk refused.")
	CDRWaiting   = gauge("sbc_cdr_records_waiting", "Call records in memory, waiting for the disk.")
	CDRFailing   = gauge("sbc_cdr_failing", "1 if the last attempt to write call records has failed.")
	CapturesLost = counter("sbc_capture_lost_packets_total", "Packets that were too many for a capture.")
	SeriesCut    = gauge("sbc_metrics_series_cut", "Series that were left out of this scrape because their family is full.")
)
