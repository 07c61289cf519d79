package policy_test

import (
	"testing"

	"kith/mimi/policy"
)

func TestRP6WhatAPostNeeds(t *testing.T) {
	for name, c := range map[string]struct {
		post policy.Post
		need []policy.Capability // besides canSendMessage
	}{
		"message":                 {policy.Post{}, nil},
		"reply":                   {policy.Post{Reply: true}, []policy.Capability{policy.CanReplyToMessage}},
		"new topic":               {policy.Post{Topic: true}, []policy.Capability{policy.CanStartTopic}},
		"reply in a topic":        {policy.Post{Reply: true, Topic: true}, []policy.Capability{policy.CanReplyToMessage, policy.CanReplyInTopic}},
		"reaction":                {policy.Post{Reaction: true, Reply: true}, []policy.Capability{policy.CanReactToMessage}},
		"other reaction":          {policy.Post{Reaction: true, Edit: true, Own: true}, []policy.Capability{policy.CanEditReaction}},
		"reaction taken back":     {policy.Post{Reaction: true, Delete: true, Own: true}, []policy.Capability{policy.CanDeleteOwnReaction}},
		"other's reaction":        {policy.Post{Reaction: true, Delete: true}, []policy.Capability{policy.CanDeleteOtherReaction}},
		"edit":                    {policy.Post{Edit: true, Own: true}, []policy.Capability{policy.CanEditOwnMessage}},
		"retraction":              {policy.Post{Delete: true, Own: true}, []policy.Capability{policy.CanDeleteOwnMessage}},
		"retraction of another's": {policy.Post{Delete: true}, []policy.Capability{policy.CanDeleteOtherMessage}},
		"topic changed":           {policy.Post{Edit: true, NewTopic: true, Own: true}, []policy.Capability{policy.CanEditOwnTopic}},
		"other's topic changed":   {policy.Post{Edit: true, NewTopic: true}, []policy.Capability{policy.CanEditOtherTopic}},
		"link":                    {policy.Post{Link: true}, []policy.Capability{policy.CanSendLink}},
		"preview":                 {policy.Post{Preview: true}, []policy.Capability{policy.CanSendLink, policy.CanSendLinkPreview}},
	} {
		all := append([]policy.Capability{policy.CanSendMessage}, c.need...)
		if !(&policy.Role{RoleIndex: 2, RoleCapabilities: all}).MayPost(c.post) {
			t.Errorf("%s: refused with what it needs", name)
		}
		for i := range all {
			less := append(append([]policy.Capability{}, all[:i]...), all[i+1:]...)
			if (&policy.Role{RoleIndex: 2, RoleCapabilities: less}).MayPost(c.post) {
				t.Errorf("%s: allowed without %#x", name, all[i])
			}
		}
	}
	admin := policy.DefaultRoles().Get(policy.RoleAdmin)
	if admin.MayPost(policy.Post{Edit: true}) || admin.MayPost(policy.Post{Edit: true, Reaction: true}) {
		t.Error("somebody edits what another said")
	}
	member := policy.DefaultRoles().Get(policy.RoleMember)
	if !member.MayPost(policy.Post{Edit: true, Own: true}) || member.MayPost(policy.Post{Delete: true}) || (*policy.Role)(nil).MayPost(policy.Post{}) {
		t.Error("members do not do what members may")
	}
}

func TestRP8Limits(t *testing.T) {
	expiring := policy.Expiration{MinDuration: 10, MaxDuration: 20}
	required := expiring
	required.ExpiringMessages = policy.Required
	forbidden := policy.Expiration{ExpiringMessages: policy.Forbidden}
	for _, c := range []struct {
		p       policy.Expiration
		seconds uint32
		want    bool
	}{{expiring, 0, true}, {expiring, 9, false}, {expiring, 10, true}, {expiring, 21, false},
		{required, 0, false}, {required, 20, true}, {forbidden, 0, true}, {forbidden, 15, false}} {
		if got := c.p.Allows(c.seconds); got != c.want {
			t.Errorf("%v, %d seconds: %v", c.p.ExpiringMessages, c.seconds, got)
		}
	}
	utf8 := []policy.MediaTypeParameter{{Name: "charset", Value: "utf-8"}}
	assets := policy.Assets{MaxImage: 100, MaxAttachment: 50, ForbiddenMediaTypes: []policy.MediaType{{Type: "image/svg+xml"}, {Type: "text/plain", Parameters: utf8}}}
	listed := policy.Assets{PermittedMediaTypes: []policy.MediaType{{Type: "image/png"}}}
	none := policy.Assets{PermittedMediaTypes: []policy.MediaType{}}
	for _, c := range []struct {
		p    policy.Assets
		m    policy.MediaType
		size uint64
		want bool
	}{
		{assets, policy.MediaType{Type: "image/png"}, 100, true}, {assets, policy.MediaType{Type: "IMAGE/png"}, 101, false},
		{assets, policy.MediaType{Type: "application/pdf"}, 51, false}, {assets, policy.MediaType{Type: "video/mp4"}, 1 << 40, true},
		{assets, policy.MediaType{Type: "image/svg+xml", Parameters: utf8}, 1, false}, {assets, policy.MediaType{Type: "text/plain"}, 1, true},
		{assets, policy.MediaType{Type: "text/plain", Parameters: []policy.MediaTypeParameter{{Name: "Charset", Value: "utf-8"}}}, 1, false},
		{listed, policy.MediaType{Type: "image/png"}, 1, true}, {listed, policy.MediaType{Type: "image/gif"}, 1, false},
		{none, policy.MediaType{Type: "image/png"}, 1, false},
	} {
		if got := c.p.Allows(c.m, c.size); got != c.want {
			t.Errorf("%v of %d: %v", c.m, c.size, got)
		}
	}
	history := policy.ChatHistory{RolesThatCanShare: []uint32{4}, MaxTimePeriod: 60}
	if !history.MayShare(4, 60) || history.MayShare(4, 61) || history.MayShare(2, 1) || (policy.ChatHistory{HistorySharing: policy.Forbidden}).MayShare(4, 0) {
		t.Error("history is shared by others, or further back")
	}
	if !(policy.Logging{LoggingClients: []string{"x"}}).Active() || (policy.Logging{}).Active() {
		t.Error("logging is active without anybody who logs, or not with somebody")
	}
}

func TestRP8RoomsTell(t *testing.T) {
	s := group(t).with(t, policy.MessageExpiration, policy.Expiration{MaxDuration: 7}).with(t, policy.StatusNotificationPolicy, policy.StatusNotifications{ReadReceipts: policy.Forbidden}).
		with(t, policy.AssetPolicy, policy.Assets{MaxImage: 3}).with(t, policy.LoggingPolicy, policy.Logging{Logging: policy.Forbidden}).
		with(t, policy.ChatHistoryPolicy, policy.ChatHistory{MaxTimePeriod: 5}).with(t, policy.BotPolicy, policy.Bots{{Name: "b"}}).
		with(t, policy.LinkPreviewPolicy, policy.LinkPreviews{LinkPreviewProxyUse: policy.Forbidden}).state(t)
	expiration, ok1 := s.Expiration()
	receipts, ok2 := s.StatusNotifications()
	assets, ok3 := s.Assets()
	logging, ok4 := s.Logging()
	history, ok5 := s.ChatHistory()
	bots, ok6 := s.Bots()
	previews, ok7 := s.LinkPreviews()
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 || !ok7 || expiration.MaxDuration != 7 || receipts.ReadReceipts != policy.Forbidden ||
		assets.MaxImage != 3 || logging.Logging != policy.Forbidden || history.MaxTimePeriod != 5 || len(bots) != 1 || previews.LinkPreviewProxyUse != policy.Forbidden {
		t.Error("a policy is not what was set")
	}
	if _, ok := group(t).state(t).Expiration(); ok {
		t.Error("a policy that the room does not have")
	}
	broken := group(t)
	broken.components[policy.MessageExpiration] = []byte{9}
	if _, ok := broken.state(t).Expiration(); ok {
		t.Error("a policy that nobody can read")
	}
}
