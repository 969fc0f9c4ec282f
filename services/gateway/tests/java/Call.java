import dk.cvhub.v6.*;
import jakarta.xml.ws.BindingProvider;
import jakarta.xml.ws.Holder;
import jakarta.xml.ws.handler.MessageContext;
import java.io.PrintStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;

/** A caller made from the WSDL by wsimport: GetCV, SetCvStatus and ReplaceCV, and what a fault looks like. */
public final class Call {
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private final CVService service;
    private final ActiveOrganisationHeaderType organisation = new ActiveOrganisationHeaderType();
    private final RequestUserMetadataHeaderType user = new RequestUserMetadataHeaderType();
    private final String person;

    private Call(String wsdl, String token, String person) throws Exception {
        this.person = person;
        service = new CVService_Service(URI.create(wsdl).toURL()).getCVServiceSoap();
        ((BindingProvider) service).getRequestContext().put(
            MessageContext.HTTP_REQUEST_HEADERS, Map.of("Authorization", List.of("Bearer " + token)));
        organisation.setOrganisationTypeIdentifier(101);
        organisation.setOrganisationCode("1");
        RequestUserStructureType who = new RequestUserStructureType();
        who.setUserFullName("Søren Test");
        who.setRequestUserTypeIdentifier(2);
        who.setUserIdentifier("user-1");
        user.setRequestUserStructure(who);
    }

    public static void main(String[] arguments) throws Exception {
        Call call = new Call(arguments[0], arguments[1], arguments[2]);
        call.getCV();
        call.setCvStatus(arguments[3]);
        call.replaceCV();
        call.refused();
    }

    private void getCV() throws Exception {
        Holder<MunicipalityType> municipality = new Holder<>();
        Holder<Integer> status = new Holder<>();
        Holder<String> comment = new Holder<>();
        Holder<CVProfileType> profile = new Holder<>();
        service.getCV(person, municipality, status, comment, profile, organisation, user, "");
        CVType cv = profile.value.getCV();
        OUT.println("GetCV " + String.join("|",
            municipality.value.getMunicipalityName(),
            String.valueOf(status.value),
            comment.value,
            String.valueOf(profile.value.getJobnetCVId()),
            profile.value.getPersonalData().getDateOfBirth().toString(),
            profile.value.getPersonalData().getContactInformation().getPhoneNumber().toString(),
            cv.getEducationCollection().getEducation().get(0).getEndDate().getMonth().toString(),
            cv.getLanguageSkillCollection().getLanguageSkill().get(0).getLevel().value(),
            cv.getProfessionalSummaryText().getHTMLText()));
    }

    private void setCvStatus(String cvNumber) throws Exception {
        CvStatusSetType set = new CvStatusSetType();
        set.setPersonCivilRegistrationIdentifier(person);
        set.setCvCustomerIdentifier(cvNumber);
        set.setCvStatusIdentifier(2);
        set.setCvComment("Klar & <parat>");
        OUT.println("SetCvStatus " + service.setCvStatus(set, organisation, user, "from-java-1", "").getMessageIdentifier());
    }

    private void replaceCV() throws Exception {
        ContactInformationType contact = new ContactInformationType();
        contact.getPhoneNumber().add("+4520123456");
        ReplaceJobConditionsType conditions = new ReplaceJobConditionsType();
        conditions.setFullTimeEmployment(true);
        ReplaceCVType cv = new ReplaceCVType();
        cv.setPreviousJobExperienceCollection(new ReplacePreviousJobExperienceCollectionType());
        cv.setEducationCollection(new ReplaceEducationCollectionType());
        cv.setQualificationCollection(new ReplaceQualificationCollectionType());
        cv.setDriverLicenseCollection(new ReplaceDriverLicenseCollectionType());
        cv.setLanguageSkillCollection(new ReplaceLanguageSkillCollectionType());
        cv.setOtherExperienceCollection(new ReplaceOtherExperienceCollectionType());
        cv.setOtherCVReferenceCollection(new ReplaceOtherCVReferenceCollectionType());
        ServiceReceiptType receipt = service.replaceCV(
            person, contact, conditions, new ReplaceJobTargetCollectionType(), cv, organisation, user, "from-java-2", "");
        OUT.println("ReplaceCV " + receipt.getMessageIdentifier());
    }

    private void refused() throws Exception {
        try {
            service.getCvStatus(person, null, organisation, user, "");
        } catch (ServiceFault fault) {
            OUT.println("Fault " + fault.getFaultInfo().getErrorCode() + "|" + fault.getFaultInfo().getSource()
                + "|" + fault.getMessage());
        }
    }
}
