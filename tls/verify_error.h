/*
 * verify_error.h - OpenSSL's certificate verification errors: their symbolic names, which operators
 * can search for (X509_verify_cert_error_string gives prose that changes), and the class that each
 * belongs to. Used by rule.c; the same names are the failure-reason-code of TLS reports (RFC
 * 8460 4.3).
 */
#ifndef TLS_VERIFY_ERROR_H
#define TLS_VERIFY_ERROR_H

#include "tls/rule.h"

/* "X509_V_ERR_HOSTNAME_MISMATCH"; X509_V_ERR_UNSPECIFIED for what the table lacks. */
const char *verify_error_name(long error);

/* TLS_FINE for X509_V_OK alone. */
enum tls_failure verify_error_class(long error);

#endif
