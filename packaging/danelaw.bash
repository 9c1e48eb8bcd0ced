# bash completion for danelaw(8): commands, their options and files, and the settings of -o.
# Sections that have names of their own ("listener lan", "domain example.org") are left to the writer.

_danelaw_commands='serve check explain queue tlsa nft'

_danelaw_options() {
	case $1 in
	'') echo '-t -V --version' ;;
	serve) echo '-t' ;;
	check) echo '-f --file --host --port -4 -6 --no-connect --timeout --json --nagios --color' ;;
	explain) echo '--json --color' ;;
	queue) echo '--json --all' ;;
	tlsa) echo '--usage --selector --matching --name --port --ttl --generic --nsupdate --connect --verify' ;;
	nft) echo '--fail --routing' ;;
	esac
	echo '-c -o -h --help'
}

_danelaw_settings() {
	local section keys key

	while read -r section keys; do
		for key in $keys; do
			echo "$section.$key="
		done
	done <<-'END'
		server hostname greeting_name user workers state_dir
		dns forward root_hints trust_anchor timeout total dnssec_probe dnssec_probe_bogus
		policy level insecure_mx mta_sts fallback enforce allow_addresses next_hop ip min_tls
		tls ca_file
		mta-sts fetch_timeout first_contact
		timeouts rcpt connect greeting handshake command data_start data_block data_end
		timeouts idle_client shutdown
		limits message_size recipients received_headers next_hop_connections connection_messages
		limits connection_idle
		spool retry lifetime bounce_from
		log target format level
		admin listen
	END
}

# The first word that is neither an option nor what belongs to one.
_danelaw_command() {
	local i

	for ((i = 1; i < COMP_CWORD; i++)); do
		case ${COMP_WORDS[i]} in
		-o) while [[ ${COMP_WORDS[i + 2]} == = ]]; do ((i += 2)); done && ((i++)) ;;
		-c) ((i++)) ;;
		-*) ;;
		*) echo "${COMP_WORDS[i]}" && return ;;
		esac
	done
}

_danelaw() {
	local cur=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} words='' command

	command=$(_danelaw_command)
	case $command:$previous in
	*:-o)
		compopt -o nospace
		words=$(_danelaw_settings)
		;;
	*:-c | *:--file | check:-f) compopt -o default ;;
	*:--color) words='auto always never' ;;
	*:--fail) words='closed open' ;;
	tlsa:--usage) words='0 1 2 3' ;;
	tlsa:--selector) words='0 1' ;;
	tlsa:--matching) words='0 1 2' ;;
	*:--port | *:--timeout | *:--ttl | *:--name | *:--connect | *:=) ;;
	*)
		case $command:$cur in
		*:-*) words=$(_danelaw_options "$command") ;;
		:*) words=$_danelaw_commands ;;
		queue:*) words='list show retry bounce' ;;
		tlsa:*) compopt -o default ;;
		esac
		;;
	esac
	mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
}

complete -F _danelaw danelaw
