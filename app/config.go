// SPDX-License-Identifier: EUPL-1.2

package app

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"codeberg.org/holdfast/holdfast/directory"
	"codeberg.org/holdfast/holdfast/event"
	"codeberg.org/holdfast/holdfast/fault"
	"codeberg.org/holdfast/holdfast/synced"
)

// Config is the whole configuration of a site: one file, config.yaml in the data folder. Every field has its
// documentation in the doc tag and a value in the sample tag, from which 'holdfast config sample' writes the annotated sample.
type Config struct {
	Name     string   `yaml:"name" doc:"The site's name as people say it, e.g. 'Rechenzentrum Nord'." sample:"Rechenzentrum Nord"`
	Operator string   `yaml:"operator" doc:"Who runs this site. Sites of one operator fall together; secured means at least two operators." sample:"Nordwolke eG"`
	Box      bool     `yaml:"box" doc:"True if this is the box in an authority's own building."`
	Portal   Portal   `yaml:"portal" doc:"Where people come in."`
	Peer     Peer     `yaml:"peer" doc:"Where other sites come in."`
	Disk     Disk     `yaml:"disk" doc:"The data disk: room, and encryption of what lies there."`
	Identity Identity `yaml:"identity" doc:"How people come in."`
	Alarm    Alarm    `yaml:"alarm" doc:"How this site calls people."`
	Channels Channels `yaml:"channels" doc:"The gateways this site can hand messages to."`
}

// Portal configures the listener for people and programs.
type Portal struct {
	Listen  string   `yaml:"listen" doc:"Address and port to listen on. Without a certificate only loopback is accepted, or say plain_http." sample:"127.0.0.1:8600"`
	URL     string   `yaml:"url" doc:"How phones reach this portal from outside; it stands in every reply link." sample:"https://alarm.example"`
	Names   []string `yaml:"names" doc:"Host names under which people reach this site, best two of different registrars that each resolve to all sites. Passkeys are bound to them. Empty: the one in url." sample:"[alarm.example, alarm-zwei.example]"`
	TLSCert string   `yaml:"tls_cert" doc:"PEM file of the certificate chain."`
	TLSKey  string   `yaml:"tls_key" doc:"PEM file of the private key."`
	Plain   bool     `yaml:"plain_http" doc:"True if a proxy in front of the portal speaks TLS."`
	Client  string   `yaml:"client_header" doc:"Header in which that proxy names who sent a request, such as X-Forwarded-For; only with plain_http. Without it all senders are one, for the bounds and in the audit."`
}

// Peer configures the connections between sites.
type Peer struct {
	Listen    string   `yaml:"listen" doc:"Address and port to listen on for other sites. TLS with pinned keys; no certificate is needed." sample:"0.0.0.0:8601"`
	Advertise []string `yaml:"advertise" doc:"Addresses under which other sites reach this one; empty: the listen address." sample:"[nord.example:8601]"`
	DialFrom  string   `yaml:"dial_from" doc:"Local address to dial from; empty: the system chooses."`
}

// Disk configures the reserve and encryption at rest.
type Disk struct {
	ReserveMiB int    `yaml:"reserve_mib" doc:"Writing is refused while less than this is free; reading goes on. Default 256." sample:"256"`
	KeyFile    string `yaml:"key_file" doc:"File with at least 32 random bytes, best on another medium (TPM, systemd credential, stick). With it logs and the site's key are encrypted, and the read model stays in memory. Set it when the site is made; it cannot be added later."`
	ReadModel  string `yaml:"read_model" doc:"Where the read model lies: memory, or file (it holds names in the clear: use an encrypted file system). Default: memory with a key_file, else file." sample:"file"`
}

// Identity configures how people come in.
type Identity struct {
	SessionIdle time.Duration `yaml:"session_idle" doc:"A session ends when it has not been used for so long. Default 1h." sample:"1h"`
	SessionMax  time.Duration `yaml:"session_max" doc:"A session ends after so long, whatever happens; also while this site is cut off from the others. Default 12h." sample:"12h"`
	OIDC        []OIDC        `yaml:"oidc" doc:"Identity providers of authorities, for normal days; secret_file and claim (default email) besides." sample:"[{authority: lk-nordtal, issuer: 'https://login.nordtal.example', client_id: holdfast}]"`
}

// OIDC configures one authority's own identity provider (OpenID Connect).
type OIDC struct {
	Authority  string `yaml:"authority" doc:"Id of the authority." sample:"lk-nordtal"`
	Issuer     string `yaml:"issuer" doc:"The provider's issuer address." sample:"https://login.nordtal.example"`
	ClientID   string `yaml:"client_id" doc:"Under which name the provider knows us." sample:"holdfast"`
	SecretFile string `yaml:"secret_file" doc:"File that holds the client secret; empty for a public client (PKCE)."`
	Claim      string `yaml:"claim" doc:"Which claim names the person: email (default) or another that equals the person's key in the directory." sample:"email"`
}

// Alarm configures the caller.
type Alarm struct {
	TakeoverAfter time.Duration `yaml:"takeover_after" doc:"For alarms raised here: how long a site waits without news of the calling site, times its rank, before it carries on. Default 5s." sample:"5s"`
	Workers       int           `yaml:"workers" doc:"How many messages are under way at the same time. Default 32." sample:"32"`
}

// Channels configures the gateways.
type Channels struct {
	SMS   *SMS   `yaml:"sms" doc:"An SMS gateway that takes HTTP requests."`
	Email *Email `yaml:"email" doc:"A mail server that takes our mail (SMTP). It must not be the authority's own."`
}

// kinds returns the kinds of channels that have a gateway; never nil, because a site that has none says so.
func (c Channels) kinds() []string {
	kinds := []string{}
	if c.SMS != nil {
		kinds = append(kinds, string(directory.SMS))
	}
	if c.Email != nil {
		kinds = append(kinds, string(directory.Email))
	}
	return kinds
}

// SMS configures an HTTP gateway; package driver/sms explains the templates.
type SMS struct {
	URL               string            `yaml:"url" doc:"Template of the address to send the request to." sample:"https://sms.example/messages"`
	Method            string            `yaml:"method" doc:"HTTP method. Default POST." sample:"POST"`
	Headers           map[string]string `yaml:"headers" doc:"Additional headers." sample:"{X-Sender: holdfast}"`
	Body              string            `yaml:"body" doc:"Template of the body with {{.To}}, {{.Text}} and {{.Key}}." sample:"'{\"to\": \"{{.To}}\", \"text\": \"{{.Text}}\", \"key\": \"{{.Key}}\"}'"`
	Encoding          string            `yaml:"encoding" doc:"How values are escaped in the body: json (default) or form." sample:"json"`
	Success           []int             `yaml:"success" doc:"Statuses that mean taken. Default 200 to 299." sample:"[200, 202]"`
	IdempotencyHeader string            `yaml:"idempotency_header" doc:"Header that carries the idempotency key. Default Idempotency-Key." sample:"Idempotency-Key"`
	Auth              string            `yaml:"auth" doc:"How the secret is sent: bearer, basic, or empty for none."`
	User              string            `yaml:"user" doc:"Name for basic authentication."`
	SecretFile        string            `yaml:"secret_file" doc:"File that holds the secret; it is read for every message."`
	Ref               string            `yaml:"ref" doc:"Where the answer's JSON names the message, e.g. id or messages.0.id."`
}

// Email configures a mail server.
type Email struct {
	Server       string `yaml:"server" doc:"host:port of the mail server." sample:"mail.example:587"`
	From         string `yaml:"from" doc:"Address the mail comes from." sample:"alarm@example.org"`
	Username     string `yaml:"username" doc:"Name to sign in with, if the server wants one."`
	PasswordFile string `yaml:"password_file" doc:"File that holds the password; it is read for every connection."`
	Security     string `yaml:"security" doc:"starttls: encrypted or not at all; tls: encrypted from the first byte (port 465); empty: STARTTLS where it is offered." sample:"starttls"`
	Plain        bool   `yaml:"plain" doc:"True to send without TLS; only for a server on this machine."`
}

// The file names inside a data folder.
const (
	ConfigFile  = "config.yaml"
	localFile   = "local.db"
	keyringFile = "keyring.db"
	modelFile   = "read.db"
	logFolder   = "log"
)

const maxConfigBytes = 1 << 20

// LoadConfig reads config.yaml in the data folder and checks it. Every fault names the line or field and the way out.
func LoadConfig(data string) (Config, error) {
	path := filepath.Join(data, ConfigFile)
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, fault.New(fault.NotFound, "config.missing", path+" does not exist",
			"set a site up with 'holdfast init' or 'holdfast join', or name its folder with --data")
	}
	if err != nil {
		return Config{}, fmt.Errorf("open the configuration: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxConfigBytes))
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	return ParseConfig(b)
}

// ParseConfig reads YAML, refuses unknown keys, fills in defaults and checks every field.
func ParseConfig(b []byte) (Config, error) {
	var c Config
	d := yaml.NewDecoder(bytes.NewReader(b))
	d.KnownFields(true)
	if err := d.Decode(&c); err != nil && !errors.Is(err, io.EOF) {
		return Config{}, configFault(err)
	}
	c.setDefaults()
	return c, c.check()
}

func (c *Config) setDefaults() {
	if c.Disk.ReserveMiB == 0 {
		c.Disk.ReserveMiB = 256
	}
	if c.Disk.ReadModel == "" {
		c.Disk.ReadModel = modelInFile
		if c.Disk.KeyFile != "" {
			c.Disk.ReadModel = modelInMemory
		}
	}
	if c.Identity.SessionIdle == 0 {
		c.Identity.SessionIdle = time.Hour
	}
	if c.Identity.SessionMax == 0 {
		c.Identity.SessionMax = 12 * time.Hour
	}
	for i := range c.Identity.OIDC {
		c.Identity.OIDC[i].Claim = orElse(c.Identity.OIDC[i].Claim, "email")
	}
	if c.Alarm.TakeoverAfter == 0 {
		c.Alarm.TakeoverAfter = 5 * time.Second
	}
	if c.Alarm.Workers == 0 {
		c.Alarm.Workers = 32
	}
	if len(c.Peer.Advertise) == 0 && c.Peer.Listen != "" {
		c.Peer.Advertise = []string{c.Peer.Listen}
	}
	if s := c.Channels.SMS; s != nil {
		s.Body = orElse(s.Body, `{"to":"{{.To}}","text":"{{.Text}}","key":"{{.Key}}"}`)
		s.IdempotencyHeader = orElse(s.IdempotencyHeader, "Idempotency-Key")
	}
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (c *Config) check() error {
	switch {
	case strings.TrimSpace(c.Name) == "":
		return badField("name", "the site has no name", "say what people call it")
	case strings.TrimSpace(c.Operator) == "":
		return badField("operator", "the site has no operator", "say who runs it")
	case c.Disk.ReserveMiB < 16:
		return badField("disk.reserve_mib", "a reserve below 16 MiB does not keep the disk from filling up", "choose 16 or more")
	case c.Alarm.TakeoverAfter < 100*time.Millisecond || c.Alarm.TakeoverAfter > 10*time.Minute:
		return badField("alarm.takeover_after", "the wait is out of bounds", "choose between 100ms and 10m, for example 5s")
	case c.Alarm.Workers < 1 || c.Alarm.Workers > 512:
		return badField("alarm.workers", "the number of workers is out of bounds", "choose between 1 and 512")
	}
	for _, check := range []func() error{c.checkPortal, c.checkNames, c.checkIdentity, c.checkDisk} {
		if err := check(); err != nil {
			return err
		}
	}
	if err := c.Channels.check(); err != nil {
		return err
	}
	return checkAddress("peer.listen", c.Peer.Listen)
}

func (c Channels) check() error {
	if e := c.Email; e != nil {
		if !slices.Contains([]string{"", "starttls", "tls"}, e.Security) {
			return badField("channels.email.security", fmt.Sprintf("%q is no kind of encryption", e.Security), "say starttls or tls, or leave it empty")
		}
		if e.Plain && e.Security != "" {
			return badField("channels.email.plain", "the mail server's connection cannot be both plain and encrypted", "remove plain or security")
		}
	}
	return nil
}

func (c *Config) checkPortal() error {
	if err := checkAddress("portal.listen", c.Portal.Listen); err != nil {
		return err
	}
	u, err := url.Parse(c.Portal.URL)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return badField("portal.url", "this is not an address that a phone can open", "write it like https://alarm.example")
	}
	if c.Portal.Client != "" && !c.Portal.Plain {
		return badField("portal.client_header", "without a proxy in front anybody could write the header", "remove it, or set plain_http")
	}
	if (c.Portal.TLSCert == "") != (c.Portal.TLSKey == "") {
		return badField("portal.tls_cert", "certificate and key come together", "set tls_cert and tls_key, or neither")
	}
	host, _, _ := net.SplitHostPort(c.Portal.Listen)
	if ip := net.ParseIP(host); c.Portal.TLSCert == "" && !c.Portal.Plain && (ip == nil || !ip.IsLoopback()) {
		return badField("portal.listen", "the portal would speak plain HTTP to the network",
			"set tls_cert and tls_key, or plain_http: true behind a proxy that speaks TLS")
	}
	return nil
}

// hostNames returns the names that people reach this site by: those set, or the one in the portal's address.
func (c Config) hostNames() []string {
	if len(c.Portal.Names) > 0 {
		return c.Portal.Names
	}
	u, err := url.Parse(c.Portal.URL)
	if err != nil || u.Hostname() == "" || net.ParseIP(u.Hostname()) != nil {
		return nil // a passkey cannot be bound to an IP address (WebAuthn, 5.1.2)
	}
	return []string{strings.ToLower(u.Hostname())}
}

var hostName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)

func (c *Config) checkNames() error {
	if len(c.Portal.Names) > 8 {
		return badField("portal.names", "more than eight names", "name the two or three that people use")
	}
	for _, n := range c.Portal.Names {
		if len(n) > 253 || !hostName.MatchString(n) || net.ParseIP(n) != nil {
			return badField("portal.names", fmt.Sprintf("%.60q is not a host name", n), "write it like alarm.example: small letters, no port, no IP address")
		}
	}
	return nil
}

func (c *Config) checkIdentity() error {
	i := c.Identity
	if i.SessionIdle < time.Minute || i.SessionIdle > i.SessionMax {
		return badField("identity.session_idle", "the time is out of bounds", "choose between 1m and session_max, for example 1h")
	}
	if i.SessionMax > 7*24*time.Hour {
		return badField("identity.session_max", "the time is out of bounds", "choose at most 168h, for example 12h")
	}
	for _, o := range i.OIDC {
		u, err := url.Parse(o.Issuer)
		if err != nil || u.Host == "" || u.Scheme != "https" && !loopbackHost(u.Hostname()) {
			return badField("identity.oidc.issuer", "this is not an identity provider's https address", "write it like https://login.example")
		}
		if o.ClientID == "" || !event.AuthorityID(o.Authority).Valid() {
			return badField("identity.oidc", "an identity provider needs authority, issuer and client_id", "set all three")
		}
	}
	return nil
}

func loopbackHost(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Where the read model may lie.
const (
	modelInFile   = "file"
	modelInMemory = "memory"
)

func (c *Config) checkDisk() error {
	if !slices.Contains([]string{modelInFile, modelInMemory}, c.Disk.ReadModel) {
		return badField("disk.read_model", fmt.Sprintf("%.20q is no place for the read model", c.Disk.ReadModel), "say file or memory")
	}
	return nil
}

func checkAddress(field, address string) error {
	_, port, err := net.SplitHostPort(address)
	if n, perr := strconv.Atoi(port); err != nil || perr != nil || n < 0 || n > 65535 {
		return badField(field, fmt.Sprintf("%q is not an address with a port", address), "write it like 127.0.0.1:8600 or :8600")
	}
	return nil
}

func badField(field, message, wayOut string) error {
	return fault.New(fault.Invalid, "config.invalid", message, wayOut+"; 'holdfast config sample' shows every key").At(0, field)
}

var (
	unknownKey = regexp.MustCompile(`line (\d+): field (\S+) not found in type`)
	anyLine    = regexp.MustCompile(`line (\d+): (.*)`)
)

// configFault turns the YAML library's words into a fault with line, key and the key that was probably meant.
func configFault(err error) error {
	if m := unknownKey.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		hint := "remove the line; 'holdfast config sample' shows every key"
		if near := nearestKey(m[2]); near != "" {
			hint = fmt.Sprintf("did you mean %q? 'holdfast config sample' shows every key", near)
		}
		return fault.New(fault.Invalid, "config.unknown_key", "unknown key", hint).At(line, m[2])
	}
	if m := anyLine.FindStringSubmatch(err.Error()); m != nil {
		line, _ := strconv.Atoi(m[1])
		return fault.New(fault.Invalid, "config.malformed", strings.TrimSpace(m[2]), "mend the line; 'holdfast config sample' shows the form").At(line, "")
	}
	return fault.New(fault.Invalid, "config.malformed", "the configuration is not YAML", "'holdfast config sample' shows the form").With(err)
}

func nearestKey(key string) string {
	best, distance := "", 4
	eachField(reflect.TypeFor[Config](), func(f reflect.StructField, _ int) {
		if d := editDistance(key, f.Tag.Get("yaml")); d < distance {
			best, distance = f.Tag.Get("yaml"), d
		}
	})
	return best
}

// editDistance is Levenshtein's, for words of a few letters.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		prev := row[0]
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			prev, row[j] = row[j], min(row[j]+1, row[j-1]+1, prev+cost)
		}
	}
	return row[len(b)]
}

// eachField visits the configuration's fields in order of their definition, with their depth.
func eachField(t reflect.Type, visit func(f reflect.StructField, depth int)) { walkFields(t, 0, visit) }

func walkFields(t reflect.Type, depth int, visit func(reflect.StructField, int)) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return
	}
	for i := range t.NumField() {
		visit(t.Field(i), depth)
		walkFields(t.Field(i).Type, depth+1, visit)
	}
}

// SampleConfig returns the annotated sample: every key with its meaning, commented out.
func SampleConfig() string {
	var b strings.Builder
	b.WriteString("# config.yaml of a Holdfast site. Every key, with its meaning; secrets stay in files of their own.\n")
	eachField(reflect.TypeFor[Config](), func(f reflect.StructField, depth int) {
		pad := strings.Repeat("  ", depth)
		key := strings.TrimRight(f.Tag.Get("yaml")+": "+sampleValue(f), " ")
		fmt.Fprintf(&b, "%s# %s\n%s#%s\n", pad, f.Tag.Get("doc"), pad, key)
	})
	return b.String()
}

// sampleValue is the field's own sample, or the empty value of its type.
func sampleValue(f reflect.StructField) string {
	if v := f.Tag.Get("sample"); v != "" {
		return v
	}
	switch f.Type.Kind() {
	case reflect.String:
		return `""`
	case reflect.Bool:
		return "false"
	case reflect.Slice:
		return "[]"
	}
	return "" // a section
}

// WriteConfig writes c as config.yaml into the data folder; it refuses to replace one.
func WriteConfig(data string, c Config) error {
	b, err := yaml.Marshal(c)
	if err != nil {
		return fmt.Errorf("encode the configuration: %w", err)
	}
	err = synced.Disk{}.Create(filepath.Join(data, ConfigFile), b)
	if errors.Is(err, os.ErrExist) {
		return fault.New(fault.Conflict, "config.exists", "there is a site in this folder already", "choose another folder with --data, or start this one with 'holdfast serve'")
	}
	if err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	return nil
}
