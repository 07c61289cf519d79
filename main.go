// Command kith is an end-to-end encrypted messenger in one binary. Run without arguments it serves; see -help.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"kith/server"
)

const help = `kith [serve] -data DIR -domain NAME [flags]   serve this provider; -dev tries it out on this machine
kith setup-link -data DIR                     print a one-time link that creates the first administrator
kith user list -data DIR                      list accounts
kith user add -data DIR [-name NAME] [-admin] USERNAME
kith user reset-link -data DIR USERNAME       print a link that sets a new password
kith user disable -data DIR USERNAME          keep an account from signing in
kith version [-json]

Every flag has a twin in the environment: -tls-cert is KITH_TLS_CERT. Flags, of serve where nothing else is said:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	var usage server.UsageError
	switch {
	case err == nil || errors.Is(err, flag.ErrHelp):
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "kith:", err)
		os.Exit(2)
	default:
		fmt.Fprintln(os.Stderr, "kith:", strings.ReplaceAll(err.Error(), "\n", "; "))
		os.Exit(1)
	}
}

// options are the flags of all commands.
type options struct {
	server.Config
	name, logLevel string
	admin, json    bool
}

// parse reads flags and arguments in any order, and the environment for flags that are not given.
func parse(args []string, stderr io.Writer) (o options, rest []string, err error) {
	f := flag.NewFlagSet("kith", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&o.Domain, "domain", "", "`name` of this provider, for ever")
	f.StringVar(&o.Data, "data", "", "`directory` of everything that is stored (default data); of all commands but version")
	f.StringVar(&o.Listen, "listen", "", "`address` to listen on (default :443, with -dev 127.0.0.1:8080)")
	f.StringVar(&o.ListenHTTP, "listen-http", "", "`address` that redirects to HTTPS and answers the certificate authority, for example :80")
	f.StringVar(&o.Federation, "federation", "", "`HOST[:PORT]` for other providers: another name than mimi.NAME, or another port or address (default mimi.NAME on -listen)")
	f.StringVar(&o.ACMEDirectory, "acme-directory", "", "`URL` of the certificate authority, whose terms are accepted (default Let's Encrypt)")
	f.StringVar(&o.ACMEEmail, "acme-email", "", "`address` for the certificate authority (default none)")
	f.StringVar(&o.TLSCert, "tls-cert", "", "`file` with a certificate chain for NAME and mimi.NAME (default: fetched from the authority)")
	f.StringVar(&o.TLSKey, "tls-key", "", "`file` with the key of the certificate")
	f.BoolVar(&o.Dev, "dev", false, "try it out: plain HTTP on this machine only; with -federation at a loopback address also other providers on it")
	f.StringVar(&o.logLevel, "log-level", "info", "log at least this `level`: debug, info, warn or error")
	f.StringVar(&o.name, "name", "", "of user add: display `name`")
	f.BoolVar(&o.admin, "admin", false, "of user add: the account is an administrator")
	f.BoolVar(&o.json, "json", false, "of version: print JSON")
	f.VisitAll(func(g *flag.Flag) {
		twin := "KITH_" + strings.ToUpper(strings.ReplaceAll(g.Name, "-", "_"))
		if v, ok := os.LookupEnv(twin); ok && err == nil && f.Set(g.Name, v) != nil {
			err = server.Usage("%s=%q is not a value for -%s", twin, v, g.Name)
		}
	})
	for err == nil && len(args) > 0 {
		if e := f.Parse(args); errors.Is(e, flag.ErrHelp) {
			fmt.Fprint(stderr, help)
			f.SetOutput(stderr)
			f.PrintDefaults()
			return o, nil, e
		} else if e != nil {
			return o, nil, server.Usage("%v; see kith -help", e)
		}
		if args = f.Args(); len(args) > 0 {
			rest, args = append(rest, args[0]), args[1:]
		}
	}
	var level slog.Level
	if err == nil && level.UnmarshalText([]byte(o.logLevel)) != nil {
		err = server.Usage("-log-level %q is none of debug, info, warn, error", o.logLevel)
	}
	o.Log = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	return o, rest, err
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, words, err := parse(args, stderr)
	if err != nil {
		return err
	}
	switch command := strings.Join(words[:min(2, len(words))], " "); {
	case len(words) == 0, command == "serve":
		return server.Run(ctx, o.Config, stdout)
	case words[0] == "user" && len(words) > 1:
		return server.UserCommand(ctx, o.Config, stdout, words[1], words[2:], o.name, o.admin)
	case command == "setup-link":
		return server.PrintSetupLink(ctx, o.Config, stdout)
	case command == "version":
		return server.PrintVersion(stdout, o.json)
	}
	return server.Usage("there is no command %q; see kith -help", strings.Join(words, " "))
}
