package main

import (
	"context"

	"sallyport/sbc"
	"sallyport/sbc/config"
)

// named looks the names of a configuration up, and tells what they lead to. look is sbc.LookUpNames.
func named(ctx context.Context, snap *config.Snapshot, look func(context.Context, *config.Snapshot) []sbc.NameReport, report *config.Report) {
	for _, n := range look(ctx, snap) {
		p := placed(snap, n.Path)
		switch {
		case n.Error == "":
			p.What = n.Name + " leads to " + n.Leads
			report.Notes = append(report.Notes, p)
		case n.Leads != "":
			p.What = n.Name + " leads to " + n.Leads + "; " + n.Error
			report.Warnings = append(report.Warnings, p)
		default:
			p.What, p.Hint = n.Name+": "+n.Error, "is the name right? this was asked of the name servers of this machine, see /etc/resolv.conf"
			report.Warnings = append(report.Warnings, p)
		}
	}
}
