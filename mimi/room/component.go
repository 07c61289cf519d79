package room

import "kith/mimi/mls"

// Component returns the data of a component of the room, nil if the room does not have it.
func (v *View) Component(id uint16) []byte {
	dict, err := v.context.Extensions.AppData()
	if err != nil {
		return nil
	}
	data, _ := dict.Get(mls.ComponentID(id))
	return data
}
