// A client made with go-libvirt: connects, lists, hears lifecycle events, and asks for a tunnelled migration.
//
// go_client SOCKET XML NAME DESTINATION
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/digitalocean/go-libvirt"
	"github.com/digitalocean/go-libvirt/socket/dialers"
)

const limit = 60 * time.Second

// must ends the program where something went wrong.
func must(err error, doing string) {
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", doing, err)
		os.Exit(1)
	}
}

// heard waits for the domain's event of one kind.
func heard(events <-chan libvirt.DomainEventLifecycleMsg, name string, kind libvirt.DomainEventType) {
	deadline := time.After(limit)
	for {
		select {
		case event, open := <-events:
			if !open {
				must(fmt.Errorf("no more events"), "events")
			}
			if event.Dom.Name == name && event.Event == int32(kind) {
				fmt.Printf("event %d %d\n", event.Event, event.Detail)
				return
			}
		case <-deadline:
			must(fmt.Errorf("event %d has not come", kind), "events")
		}
	}
}

func main() {
	path, file, name, destination := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	client := libvirt.NewWithDialer(dialers.NewLocal(dialers.WithSocket(path), dialers.WithLocalTimeout(limit)))
	must(client.Connect(), "connect")

	kind, err := client.ConnectGetType()
	must(err, "type")
	host, err := client.ConnectGetHostname()
	must(err, "host name")
	fmt.Printf("connected %s %t\n", kind, host != "")

	events, err := client.LifecycleEvents(context.Background())
	must(err, "events")
	xml, err := os.ReadFile(file)
	must(err, "definition")
	_, err = client.DomainCreateXML(string(xml), 0)
	must(err, "create")
	heard(events, name, libvirt.DomainEventStarted)

	domains, _, err := client.ConnectListAllDomains(1, libvirt.ConnectListDomainsActive)
	must(err, "list")
	for _, domain := range domains {
		state, _, err := client.DomainGetState(domain, 0)
		must(err, "state")
		fmt.Printf("domain %s %d\n", domain.Name, state)
	}

	domain, err := client.DomainLookupByName(name)
	must(err, "look up")
	_, err = client.DomainMigratePerform3Params(
		domain,
		libvirt.OptString{destination},
		[]libvirt.TypedParam{{Field: "bandwidth", Value: *libvirt.NewTypedParamValueUllong(200)}},
		nil,
		libvirt.MigrateLive|libvirt.MigratePeer2peer|libvirt.MigrateTunnelled,
	)
	must(err, "migrate")
	heard(events, name, libvirt.DomainEventStopped)

	_, err = client.DomainLookupByName(name)
	fmt.Printf("gone %t\n", libvirt.IsNotFound(err))
	must(client.Disconnect(), "disconnect")
}
