package ipseckey

func (s *session) emit(msg []byte) {}

func (s *session) emitDone(command string, satype int32) {}
